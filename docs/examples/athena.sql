CREATE EXTERNAL TABLE curation_events (
  id bigint,
  created_at timestamp,
  action string,
  package_type string,
  package_name string,
  package_version string,
  package_url string,
  reason string,
  event_origin string,
  curated_repository_server_name string,
  curated_repository_name string,
  curated_project string,
  username string,
  user_mail string,
  origin_repository_server_name string,
  origin_repository_name string,
  origin_project string,
  public_repo_url string,
  public_repo_name string,
  ecosystem string,
  ondemand boolean,
  policies array<struct<
    policy_id: bigint,
    policy_name: string,
    condition_name: string,
    condition_category: string,
    result: string,
    policy_reason: string,
    dry_run: boolean,
    other: string
  >>,
  other string
)
PARTITIONED BY (dt string)
STORED AS PARQUET
LOCATION 's3://audit-archive/curation/instance=acme.jfrog.io/stream=events/format=parquet/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2026-11-01,NOW',
  'storage.location.template' =
    's3://audit-archive/curation/instance=acme.jfrog.io/stream=events/format=parquet/dt=${dt}/'
);
