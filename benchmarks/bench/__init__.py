"""The parts of the benchmarks: the endpoint, an S3 API, measured processes, checks and tables."""
