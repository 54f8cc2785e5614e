"""The provider's metadata for Airflow: a pure literal, because an error in here would break every `airflow` command."""

# Airflow 3 builds the connection form from `conn-fields` and `ui-field-behaviour` alone; Airflow 2 uses the hook's
# methods. Only the switch has a default, because the form stores what it shows, which would freeze today's values.


def get_provider_info() -> dict[str, object]:
    """Return the provider's metadata in the form of Airflow's `provider_info.schema.json`."""
    return {
        "package-name": "airflow-provider-curation",
        "name": "JFrog Curation",
        # Airflow 3 shows the link's mark-up as text, so the link is at the end.
        "description": "Exports the audit events of JFrog Curation to S3: each event of a window exactly once, or no "
        "object at all. See `JFrog Curation <https://jfrog.com/curation/>`__.\n",
        "integrations": [
            {
                "integration-name": "JFrog Curation",
                "external-doc-url": "https://jfrog.com/curation/",
                "tags": ["service"],
            }
        ],
        "hooks": [
            {
                "integration-name": "JFrog Curation",
                "python-modules": ["airflow_provider_curation.hooks.curation_audit"],
            }
        ],
        "operators": [
            {
                "integration-name": "JFrog Curation",
                "python-modules": [
                    "airflow_provider_curation.operators.curation_audit_report",
                    "airflow_provider_curation.operators.curation_audit_verify",
                ],
            }
        ],
        "sensors": [
            {
                "integration-name": "JFrog Curation",
                "python-modules": ["airflow_provider_curation.sensors.curation_audit"],
            }
        ],
        "triggers": [
            {
                "integration-name": "JFrog Curation",
                "python-modules": ["airflow_provider_curation.triggers.curation_audit"],
            }
        ],
        "transfers": [
            {
                "source-integration-name": "JFrog Curation",
                "target-integration-name": "Amazon Simple Storage Service (S3)",
                "python-module": "airflow_provider_curation.transfers.curation_audit_to_s3",
            }
        ],
        "extra-links": [
            "airflow_provider_curation.links.S3ObjectLink",
            "airflow_provider_curation.links.S3ManifestLink",
            "airflow_provider_curation.links.S3ArchiveLink",
            "airflow_provider_curation.links.S3SealLink",
            "airflow_provider_curation.links.CurationAuditLink",
            "airflow_provider_curation.links.CurationReportLink",
        ],
        "connection-types": [
            {
                "connection-type": "jfrog_curation",
                "hook-class-name": "airflow_provider_curation.hooks.curation_audit.CurationAuditHook",
                "hook-name": "JFrog Curation",
                "ui-field-behaviour": {
                    "hidden-fields": ["extra"],
                    "relabeling": {"host": "Platform URL", "login": "User name", "password": "Token or password"},
                    "placeholders": {
                        "host": "https://acme.jfrog.io",
                        "login": "empty if the next field is a token",
                        "password": "access, identity or reference token",
                        "schema": "https",
                        "port": "443",
                    },
                },
                # A field with several types is text here; the hook parses it as JSON if it is JSON.
                "conn-fields": {
                    "timeout": {
                        "label": "Timeout",
                        "description": "Seconds, or [connect, read]. Default: [10, 120]. (Before Test on Airflow "
                        "3.3, save the port 443: it sends port 0 for an empty one, and refuses that.)",
                        "schema": {"type": ["string", "null"]},
                    },
                    "verify": {
                        "label": "Verify TLS",
                        "description": "true (the default), false, or the path of a CA bundle on the workers.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "cert": {
                        "label": "Client certificate",
                        "description": "Path on the workers of certificate and key, or [path, key]. Default: none.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "proxies": {
                        "label": "Proxies",
                        "description": 'Such as {"https": "http://proxy.example:3128"}. Default: the environment.',
                        "schema": {"type": ["object", "null"]},
                    },
                    "trust_env": {
                        "label": "Use environment",
                        "description": "Follow the workers' proxies, CA bundle and .netrc. Default: on.",
                        "schema": {"type": ["boolean", "null"], "default": True},
                    },
                    "secret_headers": {
                        "label": "Extra headers",
                        "description": "Sent with each request, such as a gateway's key. Masked. Default: none.",
                        "schema": {"type": ["object", "null"]},
                    },
                    "page_size": {
                        "label": "Events a page",
                        "description": "1 to 2000. Default: 2000.",
                        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 2000},
                    },
                    "concurrency": {
                        "label": "Pages in flight",
                        "description": "How many pages are read at once: 1 to 8. Default: 4.",
                        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 8},
                    },
                    "max_answer_bytes": {
                        "label": "Answer bytes",
                        "description": "The most bytes of one answer, also decompressed. Default: 268435456.",
                        "schema": {"type": ["integer", "null"], "minimum": 1},
                    },
                    "max_json_bytes": {
                        "label": "JSON bytes",
                        "description": "The most bytes of one JSON answer, decompressed. Default: 16777216.",
                        "schema": {"type": ["integer", "null"], "minimum": 1},
                    },
                    "max_json_objects": {
                        "label": "JSON objects",
                        "description": "The most JSON objects in one answer. Default: 100000.",
                        "schema": {"type": ["integer", "null"], "minimum": 1},
                    },
                    "max_line_bytes": {
                        "label": "Event bytes",
                        "description": "The most bytes of one event. Default: 1048576.",
                        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 16777216},
                    },
                    "max_nesting": {
                        "label": "Nesting",
                        "description": "The most levels of objects and arrays in one event. Default: 256.",
                        "schema": {"type": ["integer", "null"], "minimum": 1},
                    },
                    "answer_deadline": {
                        "label": "Answer seconds",
                        "description": "The most seconds from a request to the last byte of its answer. Default: 600.",
                        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
                    },
                },
            }
        ],
    }
