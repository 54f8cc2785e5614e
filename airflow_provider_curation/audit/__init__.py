"""The Curation audit-events endpoint and the meaning of its data; nothing in here imports Airflow or S3."""
