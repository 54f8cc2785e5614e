"""The connection form on Airflow 2.11; Airflow 3 builds it from the provider's metadata, in ``get_provider_info``."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from airflow_provider_curation.audit.endpoint import JSON_ROWS
from airflow_provider_curation.audit.limits import LONGEST_LINE, Limits
from airflow_provider_curation.hooks.connection import HEADERS_EXTRA, MOST_CONCURRENCY


def form_widgets() -> dict[str, Any]:
    """Return the form's extra fields by name."""
    from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
    from flask_babel import lazy_gettext
    from wtforms import BooleanField, IntegerField, PasswordField, StringField
    from wtforms.validators import NumberRange, Optional

    def text(label: str, help_text: str) -> Any:
        return StringField(lazy_gettext(label), description=help_text, widget=BS3TextFieldWidget())

    def number(label: str, help_text: str, most: int | None) -> Any:
        checks = [Optional(), NumberRange(min=1, max=most)]
        # Airflow 2.11 hides a connection type whose form has a field of any other class, such as FloatField.
        return IntegerField(lazy_gettext(label), description=help_text, validators=checks, widget=BS3TextFieldWidget())

    return {
        "timeout": text("Timeout", "Seconds, or [connect, read] in seconds. Default: [10, 120]."),
        "verify": text("Verify TLS", "true (the default), false, or the path of a CA bundle on the workers."),
        "cert": text("Client certificate", "A path on the workers, or [certificate, key]. Default: none."),
        "proxies": text("Proxies", "A URL, or a JSON object by scheme. Default: the environment's."),
        "trust_env": BooleanField(
            lazy_gettext("Use environment"),
            description="Follow the workers' proxies, CA bundle and .netrc. Default: on.",
            default=True,
        ),
        HEADERS_EXTRA: PasswordField(
            lazy_gettext("Extra headers"),
            description="A JSON object, sent with each request; masked. Default: none.",
            widget=BS3PasswordFieldWidget(),
        ),
        "page_size": number("Events a page", f"1 to {JSON_ROWS}. Default: {JSON_ROWS}.", JSON_ROWS),
        "concurrency": number("Pages in flight", f"1 to {MOST_CONCURRENCY}. Default: 4.", MOST_CONCURRENCY),
        **{
            each.name: number(
                LIMIT_LABELS[each.name],
                f"Default: {each.default:g}." if isinstance(each.default, float) else f"Default: {each.default}.",
                LONGEST_LINE if each.name == "max_line_bytes" else None,
            )
            for each in fields(Limits)
        },
    }


#: The labels of the limits' fields.
LIMIT_LABELS = {
    "max_answer_bytes": "Answer bytes",
    "max_json_bytes": "JSON bytes",
    "max_json_objects": "JSON objects",
    "max_line_bytes": "Event bytes",
    "max_nesting": "Nesting",
    "answer_deadline": "Answer seconds",
}


def field_behaviour() -> dict[str, Any]:
    """Return how the form shows the fields that every connection has.

    ``extra`` is not hidden: without it, *Test* in the edit form of Airflow 2.11 sends nothing.
    """
    return {
        "hidden_fields": [],
        "relabeling": {"host": "Platform URL", "login": "User name", "password": "Token or password"},
        "placeholders": {
            "host": "https://acme.jfrog.io",
            "login": "empty if the next field is a token",
            "password": "access, identity or reference token",
            "schema": "https",
            "port": "443",
        },
    }
