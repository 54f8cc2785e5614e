"""The parts of the benchmarks: a fake endpoint, an S3 API, measured processes, checks and tables."""
