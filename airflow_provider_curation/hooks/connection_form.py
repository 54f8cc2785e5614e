"""The connection form on Airflow 2.11; Airflow 3 builds it from the provider's metadata, in ``get_provider_info``."""

from __future__ import annotations

from typing import Any

from airflow_provider_curation.audit.endpoint import JSON_ROWS
from airflow_provider_curation.hooks.connection import MOST_CONCURRENCY


def form_widgets() -> dict[str, Any]:
    """Return the form's extra fields by name."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from flask_babel import lazy_gettext
    from wtforms import BooleanField, IntegerField, StringField
    from wtforms.validators import NumberRange, Optional

    def text(label: str) -> Any:
        return StringField(lazy_gettext(label), widget=BS3TextFieldWidget())

    def number(label: str, most: int) -> Any:
        limits = [Optional(), NumberRange(min=1, max=most)]
        return IntegerField(lazy_gettext(label), validators=limits, widget=BS3TextFieldWidget())

    return {
        "timeout": text("Timeout: seconds, or [connect, read]"),
        "verify": text("Verify TLS: true, false or the path of a CA bundle"),
        "cert": text("Client certificate: path, or [certificate, key]"),
        "proxies": text("Proxies: URL, or a JSON object by scheme"),
        "trust_env": BooleanField(lazy_gettext("Use the environment's proxies and CA bundle"), default=True),
        "headers": text("Extra headers: a JSON object"),
        "page_size": number("Events a page (1 to 2000)", JSON_ROWS),
        "concurrency": number("Pages in flight (1 to 8)", MOST_CONCURRENCY),
    }


def field_behaviour() -> dict[str, Any]:
    """Return how the form shows the fields that every connection has."""
    return {
        "hidden_fields": ["extra"],
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
    }
