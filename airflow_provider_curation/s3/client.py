"""A client for S3, from Airflow's hook, and the codes of its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

NOT_FOUND: Final = ("404", "NoSuchKey", "NotFound")
# boto's own threads cost memory and win nothing for an upload that reads a stream. Parts of 5 MiB, S3's smallest, keep
# memory low; 10,000 of them make 48 GiB.
_PART_BYTES: Final = 5 * 1024 * 1024
_TRANSFER: Final = {"use_threads": False, "multipart_chunksize": _PART_BYTES, "multipart_threshold": _PART_BYTES}


def s3_hook(aws_conn_id: str | None, extra_args: dict[str, Any] | None = None) -> S3Hook:
    """Return a hook; boto is loaded here, so that reading a DAG file does not."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    return S3Hook(aws_conn_id=aws_conn_id, extra_args=extra_args or {}, transfer_config_args=dict(_TRANSFER))


def error_code(error: Any) -> str:
    """Return the code of a ``ClientError``."""
    return str(error.response.get("Error", {}).get("Code", ""))
