"""A multipart upload of a stream: its parts and checksum are known, and one part is in memory at a time."""

from __future__ import annotations

import logging
from typing import Any, Final, Protocol

from airflow_provider_curation.audit.errors import ArchiveRefusedError
from airflow_provider_curation.s3.checksum import ALGORITHM, PartsSha256
from airflow_provider_curation.s3.codes import error_code
from airflow_provider_curation.s3.conditions import Conditions
from airflow_provider_curation.s3.open_uploads import OpenUploads

log = logging.getLogger(__name__)

#: S3's smallest part, so that memory stays low; 10,000 of them make 48 GiB.
PART_BYTES: Final = 5 * 1024 * 1024
MOST_PARTS: Final = 10_000
_READ_BYTES: Final = 64 * 1024
#: Those of an upload's arguments that each of its requests takes.
_OF_EACH_PART: Final = (
    "ChecksumAlgorithm",
    "ExpectedBucketOwner",
    "RequestPayer",
    "SSECustomerAlgorithm",
    "SSECustomerKey",
    "SSECustomerKeyMD5",
)
#: What a store may answer to an upload that asks for a checksum which it does not know.
_UNKNOWN_CHECKSUM: Final = ("NotImplemented", "501", "InvalidRequest", "InvalidArgument", "400")


class Stream(Protocol):
    """A file that can be read once."""

    def read(self, size: int = -1, /) -> bytes: ...


class Upload:
    """One upload to a key, which only this try begins and ends.

    S3 is asked to keep a SHA-256 of the parts, and refuses a part whose bytes do not have the SHA-256 that is sent.

    :param arguments: of boto3's uploads, such as ``ServerSideEncryption``, ``ACL`` and ``Metadata``; with a
        ``ChecksumAlgorithm`` of the user's own, no other checksum is asked for.
    """

    def __init__(self, client: Any, bucket: str, key: str, arguments: dict[str, Any]) -> None:
        self._client = client
        self._target = {"Bucket": bucket, "Key": key}
        self._arguments = dict(arguments)
        self._sha256 = PartsSha256() if "ChecksumAlgorithm" not in arguments and _may_ask(client) else None
        self._parts: list[dict[str, Any]] = []
        self.id: str | None = None

    def send(self, file: Stream) -> None:
        """Send a file to its end, without completing the upload."""
        self.id = str(self._create()["UploadId"])
        # One buffer for all parts: the larger the blocks that are freed, the more glibc keeps, see audit/mapped.py.
        part = bytearray(PART_BYTES)
        while (size := _fill(part, file)) or not self._parts:
            del part[size:]
            self._send_part(part)
            if size < PART_BYTES:
                break

    @property
    def checksum(self) -> str | None:
        """The SHA-256 of the parts that were sent, as S3 writes it; ``None`` if it was not asked to keep one."""
        return str(self._sha256) if self._sha256 else None

    def complete(self, conditions: Conditions, condition: dict[str, str]) -> dict[str, Any]:
        """Complete the upload, which makes the object, and return S3's answer.

        :param condition: what S3 checks against the object at the key.
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
        """Abort the upload, unless it was completed.

        :raises ArchiveError: if S3 fails.
        """
        if self.id is not None:
            OpenUploads(self._client, self._target["Bucket"]).abort(self._target["Key"], self.id)
            self.id = None

    def _create(self) -> dict[str, Any]:
        """Begin the upload: with a checksum, unless the store refuses that."""
        from botocore.exceptions import ClientError

        if self._sha256 is None:
            return self._begin(self._arguments)
        try:
            asked = {**self._arguments, "ChecksumAlgorithm": ALGORITHM}
            created = self._begin(asked)
        except ClientError as error:
            if error_code(error) not in _UNKNOWN_CHECKSUM:
                raise
            # If the checksum was not the reason, this raises the same.
            created = self._begin(self._arguments)
            self._sha256 = None
            log.warning(
                "The store behind s3://%s refuses to keep a SHA-256 of an upload (%s): objects are uploaded without, "
                "and their manifests name no checksum.",
                self._target["Bucket"],
                error_code(error),
            )
        else:
            self._arguments = asked
        return created

    def _begin(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return dict(self._client.create_multipart_upload(**self._target, **arguments))

    def _send_part(self, body: bytearray) -> None:
        number = len(self._parts) + 1
        if number > MOST_PARTS:
            raise ArchiveRefusedError(
                f"s3://{self._target['Bucket']}/{self._target['Key']}: more than {MOST_PARTS:,} parts of "
                f"{PART_BYTES:,} bytes, S3's limit. Export a shorter window."
            )
        checked = {"ChecksumSHA256": self._sha256.add(body)} if self._sha256 else {}
        sent = self._client.upload_part(
            **self._target, **self._of(*_OF_EACH_PART), **checked, UploadId=self.id, PartNumber=number, Body=body
        )
        sums = {name: value for name, value in sent.items() if name.startswith("Checksum") and name != "ChecksumType"}
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"], **sums})

    def _of(self, *names: str) -> dict[str, Any]:
        return {name: self._arguments[name] for name in names if name in self._arguments}


def _fill(part: bytearray, file: Stream) -> int:
    """Read a file into a part until it is full or the file ends, and return the bytes read."""
    filled = 0
    with memoryview(part) as view:
        while filled < len(part) and (some := file.read(min(_READ_BYTES, len(part) - filled))):
            view[filled : filled + len(some)] = some
            filled += len(some)
    return filled


def _may_ask(client: Any) -> bool:
    """Return whether S3 may be asked for a checksum: a client that is to do so only where S3 requires it may not."""
    config = getattr(getattr(client, "meta", None), "config", None)
    return getattr(config, "request_checksum_calculation", None) != "when_required"
