-- The views. Replace ROOT with the root of your archive.
CREATE VIEW events AS
  SELECT * FROM read_parquet('ROOT/instance=*/stream=events/format=parquet/*/*.parquet', hive_partitioning = true);
CREATE VIEW dry_run AS
  SELECT * FROM read_parquet('ROOT/instance=*/stream=dry_run/format=parquet/*/*.parquet', hive_partitioning = true);
CREATE VIEW manifests AS
  SELECT * FROM read_json('ROOT/_manifests/instance=*/stream=*/format=*/*/*.json');

-- 1. What is blocked, by package type and week?
SELECT date_trunc('week', created_at) AS week, package_type, count(*) AS blocked
FROM events WHERE action = 'blocked' GROUP BY ALL ORDER BY ALL;

-- 2. Who asked first for each package that a malicious-package policy blocked?
SELECT package_type, package_name, package_version, min(created_at) AS first_asked,
       arg_min(username, created_at) AS by_whom
FROM events, unnest(policies) AS each(policy)
WHERE action = 'blocked' AND policy.condition_name ILIKE '%malicious%'
GROUP BY ALL ORDER BY first_asked;

-- 3. What would each dry-run policy have blocked?
SELECT policy.policy_name, count(DISTINCT id) AS would_block, count(DISTINCT package_name) AS packages
FROM dry_run, unnest(policies) AS each(policy)
GROUP BY ALL ORDER BY would_block DESC;

-- 4. How long from the first block of a package version to its first approval?
SELECT package_type, package_name, package_version,
       min(created_at) FILTER (action = 'blocked') AS blocked,
       min(created_at) FILTER (action = 'approved') AS approved,
       approved - blocked AS waited
FROM events GROUP BY ALL HAVING approved > blocked ORDER BY waited DESC;

-- 5. What was approved although a policy matched (bypass or waiver)?
SELECT id, created_at, package_name, package_version, policy.policy_name, policy.result
FROM events, unnest(policies) AS each(policy)
WHERE action = 'approved' ORDER BY id;

-- 6. Which repositories let packages through that were not inspected?
SELECT curated_repository_name, count(*) FILTER (action = 'passed') AS not_inspected, count(*) AS asked_for,
       round(100.0 * not_inspected / asked_for, 1) AS percent
FROM events GROUP BY ALL HAVING not_inspected > 0 ORDER BY percent DESC, 1;

-- 7. Which versions are blocked most?
SELECT package_type, package_name, package_version, count(*) AS blocked
FROM events WHERE action = 'blocked' GROUP BY ALL ORDER BY blocked DESC, 1, 2, 3 LIMIT 20;

-- 8. What did a policy change? Blocks a day, before and after a date.
SELECT policy.policy_name,
       count(DISTINCT id) FILTER (created_at < DATE '2026-03-10') AS before,
       count(DISTINCT id) FILTER (created_at >= DATE '2026-03-10') AS after
FROM events, unnest(policies) AS each(policy)
WHERE action = 'blocked' GROUP BY ALL ORDER BY ALL;

-- 9. What did one user ask for? With pseudonyms, give the token.
SELECT created_at, action, package_type, package_name, package_version, reason
FROM events WHERE username = (SELECT min(username) FROM events WHERE username <> '') ORDER BY created_at, id;

-- 10. Is every day there? From the manifests alone.
SELECT instance, stream, format, CAST("start" AS DATE) AS day, sum(events) AS events, bool_and(reconciled) AS reconciled
FROM manifests GROUP BY ALL ORDER BY ALL;
