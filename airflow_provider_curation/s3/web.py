"""Where people find an object in a browser: in the AWS console or, on another store, at the object's own address.

No address is presigned: otherwise whoever can read a task's XComs could read the audit events and the people's names.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, urlsplit

#: The consoles of AWS, by the end of its endpoints' host names.
_CONSOLES: Final = {
    ".amazonaws.com.cn": "console.amazonaws.cn",
    ".amazonaws.com": "console.aws.amazon.com",
}
_GOV_CONSOLE: Final = "console.amazonaws-us-gov.com"


def object_page(client: Any, bucket: str, key: str) -> str:
    """Return the page of an object.

    :param client: the boto3 client that wrote it; its endpoint decides which page it is.
    """
    if console := _console(client):
        return f"https://{console}/s3/object/{quote(bucket)}?prefix={quote(key)}"
    return f"{_endpoint(client)}/{quote(bucket)}/{quote(key)}"


def folder_page(client: Any, bucket: str, prefix: str) -> str:
    """Return the page of a folder; on other stores than AWS, its listing.

    :param prefix: the folder's keys begin with it; empty for the whole bucket.
    """
    if console := _console(client):
        return f"https://{console}/s3/buckets/{quote(bucket)}?prefix={quote(prefix)}"
    return f"{_endpoint(client)}/{quote(bucket)}?prefix={quote(prefix)}"


def _endpoint(client: Any) -> str:
    return str(client.meta.endpoint_url).rstrip("/")


def _console(client: Any) -> str | None:
    host = urlsplit(_endpoint(client)).hostname or ""
    if host.endswith(".amazonaws.com") and str(client.meta.region_name).startswith("us-gov-"):
        return _GOV_CONSOLE
    return next((console for end, console in _CONSOLES.items() if host.endswith(end)), None)
