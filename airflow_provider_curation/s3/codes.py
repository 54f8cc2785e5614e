"""The codes of S3's errors."""

from __future__ import annotations

from typing import Any, Final

#: S3's answers if there is no such object, upload or version.
NOT_FOUND: Final = ("404", "NoSuchKey", "NotFound", "NoSuchUpload", "NoSuchVersion")
DENIED: Final = ("AccessDenied", "403", "Forbidden")


def error_code(error: Any) -> str:
    """Return the code of a ``ClientError``."""
    return str(error.response.get("Error", {}).get("Code", ""))
