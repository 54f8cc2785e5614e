"""What Airflow is told of this provider: a pure literal, because a fault in here would stop every `airflow` command."""

# Airflow 3 builds the connection form from `conn-fields` and `ui-field-behaviour` alone; Airflow 2 from the hook's
# methods. Only the switch has a default: the form stores what it shows, which would freeze today's values.


def get_provider_info() -> dict[str, object]:
    """Give the provider's metadata in the shape of Airflow's `provider_info.schema.json`."""
    return {
        "package-name": "airflow-provider-curation",
        "name": "JFrog Curation",
        "description": "Exports `JFrog Curation <https://jfrog.com/curation/>`__ audit events to S3: each event of a "
        "window exactly once, or no object at all.\n",
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
                "python-modules": ["airflow_provider_curation.operators.curation_audit_verify"],
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
            "airflow_provider_curation.links.CurationAuditLink",
        ],
        "connection-types": [
            {
                "connection-type": "jfrog_curation",
                "hook-class-name": "airflow_provider_curation.hooks.curation_audit.CurationAuditHook",
                "hook-name": "JFrog Curation",
                "ui-field-behaviour": {
                    "hidden-fields": ["extra"],
                    "relabeling": {
                        "host": "Platform URL",
                        "login": "Username (leave empty for a token)",
                        "password": "Access token or password",
                    },
                    "placeholders": {
                        "host": "https://acme.jfrog.io",
                        "password": "access, identity or reference token",
                        "schema": "https",
                    },
                },
                # A field that takes several types is text here; the hook reads it as JSON where it is JSON.
                "conn-fields": {
                    "timeout": {
                        "label": "Timeout",
                        "description": "Seconds to wait for the server: one number, or [connect, read].",
                        "schema": {"type": ["string", "null"]},
                    },
                    "verify": {
                        "label": "Verify TLS",
                        "description": "true (the default), false, or the path of a CA bundle on the workers.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "cert": {
                        "label": "Client certificate",
                        "description": "Path on the workers of a PEM file with certificate and key, or [path, key].",
                        "schema": {"type": ["string", "null"]},
                    },
                    "proxies": {
                        "label": "Proxies",
                        "description": 'Scheme to proxy, for example {"https": "http://proxy.example.com:3128"}.',
                        "schema": {"type": ["object", "null"]},
                    },
                    "trust_env": {
                        "label": "Use the environment's proxies and CA bundle",
                        "description": "Off: the environment variables of the workers are left out of account.",
                        "schema": {"type": ["boolean", "null"], "default": True},
                    },
                    "headers": {
                        "label": "Extra headers",
                        "description": "Sent with each request: what a gateway in front of the platform asks for.",
                        "schema": {"type": ["object", "null"]},
                    },
                    "page_size": {
                        "label": "Events a page",
                        "description": "1 to 2000, 2000 by default.",
                        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 2000},
                    },
                    "concurrency": {
                        "label": "Pages in flight",
                        "description": "How many pages are read at once: 1 to 8, 4 by default.",
                        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 8},
                    },
                },
            }
        ],
    }
