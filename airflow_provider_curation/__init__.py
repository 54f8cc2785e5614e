"""Airflow provider that exports JFrog Curation audit events; this module holds the version and imports nothing."""

__version__ = "0.1.0"
