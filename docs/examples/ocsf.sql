-- The archive as events of the Open Cybersecurity Schema Framework 1.8.0: class Web Resources Activity (6001), with the
-- profiles `host` and `security_control`. Replace ROOT with the root of your archive.
CREATE MACRO filled(value) AS nullif(value, '');

CREATE VIEW ocsf AS
WITH outcomes(outcome, action_id, action, disposition_id, disposition, status_id, status) AS (
  VALUES
    ('blocked', 2, 'Denied', 2, 'Blocked', 2, 'Failure'),
    ('approved', 1, 'Allowed', 1, 'Allowed', 1, 'Success'),
    ('passed', 1, 'Allowed', 16, 'No Action', 1, 'Success'),
    ('dry_run', 3, 'Observed', 15, 'Detected', 0, 'Unknown')
), curation AS (
  SELECT *, if(stream = 'dry_run', stream, action) AS outcome, coalesce(filled(username), filled(user_mail)) AS person,
         regexp_full_match(user_mail, '[\w!#$%&''*+/=?^`{|}~.-]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9.-]+') AS has_mail
  FROM read_parquet('ROOT/instance=*/stream=*/format=parquet/*/*.parquet', hive_partitioning = true)
)
SELECT
  -- What kind of event it is: a package was asked for.
  6 AS category_uid, 'Application Activity' AS category_name,
  6001 AS class_uid, 'Web Resources Activity' AS class_name,
  2 AS activity_id, 'Read' AS activity_name,
  600102 AS type_uid, 'Web Resources Activity: Read' AS type_name,
  epoch_ms(created_at) AS time,
  0 AS severity_id, 'Unknown' AS severity,
  concat_ws(' ', c.action, package_type, package_name, package_version) AS message,
  -- What Curation decided, and by which policies.
  coalesce(o.action_id, 99) AS action_id, coalesce(o.action, c.action, 'Other') AS action,
  coalesce(o.disposition_id, 99) AS disposition_id, coalesce(o.disposition, c.action, 'Other') AS disposition,
  coalesce(o.status_id, 0) AS status_id, coalesce(o.status, 'Unknown') AS status,
  c.action AS status_code, filled(reason) AS status_detail,
  [{'decision': filled(p.result),
    'policy': {'uid': CAST(p.policy_id AS VARCHAR), 'name': filled(p.policy_name),
               'type': filled(p.condition_category), 'desc': filled(p.policy_reason), 'is_applied': NOT p.dry_run,
               'data': {'condition_name': filled(p.condition_name), 'other': p.other}}}
   FOR p IN policies] AS authorizations,
  -- Who asked, for what, and from where it comes.
  CASE WHEN person IS NOT NULL
       THEN {'user': {'name': person, 'email_addr': if(has_mail, user_mail, NULL)}} END AS actor,
  [{'name': package_name, 'type': package_type, 'url_string': filled(package_url),
    'data': {'version': filled(package_version), 'ecosystem': filled(ecosystem)}}] AS web_resources,
  CASE WHEN filled(public_repo_name) IS NOT NULL
       THEN {'name': public_repo_name,
             'hostname': filled(regexp_extract(public_repo_url, '^https?://([^/:]+)', 1))} END AS dst_endpoint,
  -- Where it was recorded.
  {'version': '1.8.0', 'profiles': ['host', 'security_control'],
   'product': {'name': 'JFrog Curation', 'vendor_name': 'JFrog'},
   'uid': CAST(id AS VARCHAR), 'tenant_uid': instance, 'log_name': stream} AS metadata,
  -- What the framework has no place for.
  {'event_origin': filled(event_origin), 'ondemand': ondemand,
   'curated_repository_server_name': filled(curated_repository_server_name),
   'curated_repository_name': filled(curated_repository_name), 'curated_project': filled(curated_project),
   'origin_repository_server_name': filled(origin_repository_server_name),
   'origin_repository_name': filled(origin_repository_name), 'origin_project': filled(origin_project),
   'public_repo_url': filled(public_repo_url), 'user_mail': if(has_mail, NULL, filled(user_mail)),
   'other': other} AS unmapped
FROM curation AS c LEFT JOIN outcomes AS o USING (outcome);

-- In JSON, an absent attribute is left out: the schema allows no nulls.
CREATE MACRO without_nulls(json) AS
  regexp_replace(regexp_replace(CAST(json AS VARCHAR), ',"\w+":null', '', 'g'), '\{"\w+":null,?', '{', 'g');

CREATE VIEW ocsf_json AS SELECT without_nulls(to_json(ocsf)) AS line FROM ocsf;
