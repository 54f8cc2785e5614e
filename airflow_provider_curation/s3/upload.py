"""A multipart upload of a stream: its id, parts and ETag are known, and memory holds one part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from airflow_provider_curation.audit.errors import ArchiveRefusedError
from airflow_provider_curation.s3.claim import abort
from airflow_provider_curation.s3.conditions import Conditions

#: S3's smallest part, so that memory stays low; 10,000 of them make 48 GiB.
PART_BYTES: Final = 5 * 1024 * 1024
MOST_PARTS: Final = 10_000
_READ_BYTES: Final = 1 << 20
#: Arguments of an upload that each of its requests takes.
_OF_EACH_PART: Final = (
    "ChecksumAlgorithm",
    "ExpectedBucketOwner",
    "RequestPayer",
    "SSECustomerAlgorithm",
    "SSECustomerKey",
    "SSECustomerKeyMD5",
)


class Stream(Protocol):
    """A file that can be read once."""

    def read(self, size: int = -1, /) -> bytes: ...


class Upload:
    """One upload to a key, begun and ended by this try alone.

    :param arguments: of boto3's uploads, such as ``ServerSideEncryption``, ``ACL`` and ``Metadata``.
    """

    def __init__(self, client: Any, bucket: str, key: str, arguments: dict[str, Any]) -> None:
        self._client = client
        self._target = {"Bucket": bucket, "Key": key}
        self._arguments = dict(arguments)
        if _sums_parts(client):
            # As boto3's own uploads do it: S3 refuses parts with a checksum that the upload did not announce.
            self._arguments.setdefault("ChecksumAlgorithm", "CRC32")
        self._parts: list[dict[str, Any]] = []
        self.id: str | None = None

    def send(self, file: Stream) -> None:
        """Send a file to its end, without completing the upload."""
        created = self._client.create_multipart_upload(**self._target, **self._arguments)
        self.id = str(created["UploadId"])
        while (part := _read_part(file)) or not self._parts:
            self._send_part(part)

    def complete(self, conditions: Conditions, condition: dict[str, str]) -> dict[str, Any]:
        """Make the object of it, and return S3's answer.

        :param condition: that S3 checks against what is at the key.
        """
        answer = conditions.send(
            self._client.complete_multipart_upload,
            "CompleteMultipartUpload",
            condition,
            **self._target,
            **self._of("ExpectedBucketOwner", "RequestPayer", "SSECustomerAlgorithm", "SSECustomerKey"),
            **self._of("SSECustomerKeyMD5"),
            UploadId=self.id,
            MultipartUpload={"Parts": self._parts},
        )
        return dict(answer)

    def abort(self) -> None:
        """Abort the upload, unless it was completed."""
        if self.id is not None:
            abort(self._client, self._target["Bucket"], self._target["Key"], self.id)
            self.id = None

    def _send_part(self, body: bytearray) -> None:
        number = len(self._parts) + 1
        if number > MOST_PARTS:
            raise ArchiveRefusedError(
                f"s3://{self._target['Bucket']}/{self._target['Key']}: more than {MOST_PARTS:,} parts of "
                f"{PART_BYTES:,} bytes, S3's limit. Export a shorter window."
            )
        sent = self._client.upload_part(
            **self._target, **self._of(*_OF_EACH_PART), UploadId=self.id, PartNumber=number, Body=body
        )
        sums = {name: value for name, value in sent.items() if name.startswith("Checksum") and name != "ChecksumType"}
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"], **sums})

    def _of(self, *names: str) -> dict[str, Any]:
        return {name: self._arguments[name] for name in names if name in self._arguments}


def _read_part(file: Stream) -> bytearray:
    part = bytearray()
    read: Callable[[int], bytes] = file.read
    while len(part) < PART_BYTES and (some := read(min(_READ_BYTES, PART_BYTES - len(part)))):
        part += some
    return part


def _sums_parts(client: Any) -> bool:
    config = getattr(getattr(client, "meta", None), "config", None)
    return getattr(config, "request_checksum_calculation", None) == "when_supported"
