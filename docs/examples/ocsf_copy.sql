-- Parquet, with a column for each attribute:
COPY ocsf TO 'ocsf.parquet' (FORMAT parquet, COMPRESSION zstd);
-- JSON lines, an event a line:
COPY (SELECT line FROM ocsf_json) TO 'ocsf.jsonl' (FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '');
