"""A DAG that derives Parquet from whatever an archive has as JSON lines alone; the page about querying shows it."""

# [START convert_dag]
from airflow.providers.common.compat.sdk import DAG, task
from airflow_provider_curation.convert import conversions, convert_export

with DAG("curation_convert", schedule=None) as dag:
    found = task(conversions)("s3://audit-archive/curation", aws_conn_id="aws_default")
    task(convert_export).partial(aws_conn_id="aws_default").expand_kwargs(found)
# [END convert_dag]
