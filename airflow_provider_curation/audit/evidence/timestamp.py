"""Time stamps (RFC 3161): a third party states that some bytes existed at a time. Needs the extra ``timestamp``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_curation.audit.errors import InvalidArgumentError, TimestampError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

#: Appended to the key of the stamped file.
STAMP_SUFFIX: Final = ".tsr"
MOST_STAMP_BYTES: Final = 1 << 20
#: Seconds to connect, between two pieces of the answer, and for all of it.
_TIMEOUT: Final = (10, 30)
_MOST_SECONDS: Final = 60


class StampError(ValueError):
    """A time stamp that proves nothing; the message says why, as the end of a sentence."""


def request_stamp(url: str, stamped: bytes) -> bytes:
    """Ask a time-stamp authority for a stamp on some bytes; it sees only their SHA-256.

    :param url: the authority's HTTP or HTTPS address.
    :return: its answer, to be kept unchanged.
    :raises InvalidArgumentError: if the extra is not installed, or ``url`` is not an HTTP address.
    :raises TimestampError: if the authority does not answer with a stamp on these bytes.
    """
    import requests

    client = _client()
    if not url.startswith(("http://", "https://")):
        raise InvalidArgumentError(f"timestamp_url={url!r} is not an http:// or https:// address.")
    asked = f"The time-stamp authority {url} was asked for a stamp"
    request = client.TimestampRequestBuilder().data(stamped).hash_algorithm(client.HashAlgorithm.SHA256).build()
    headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
    try:
        # Do not follow redirects: with the address, the user chooses whom to trust.
        with requests.post(
            url, data=request.as_bytes(), headers=headers, timeout=_TIMEOUT, stream=True, allow_redirects=False
        ) as answer:
            status = answer.status_code
            body = b"".join(_bounded(answer.iter_content(1 << 16), asked))
    except requests.RequestException as error:
        raise TimestampError(f"{asked}, and did not answer ({type(error).__name__}). Try again later.") from error
    if status != 200:
        raise TimestampError(f"{asked}, and answered with status {status}. Check timestamp_url.")
    try:
        read = _decode(body)
        matches = read.tst_info.message_imprint.message == request.message_imprint.message
        matches = matches and read.tst_info.nonce == request.nonce
    except StampError as error:
        raise TimestampError(f"{asked}, and its answer is not one: {error}. Check timestamp_url.") from error
    if not matches:
        raise TimestampError(f"{asked}, and answered with a stamp on something else. Nothing was written; try again.")
    return body


def _bounded(chunks: Iterable[bytes], asked: str) -> Iterator[bytes]:
    size, deadline = 0, time.monotonic() + _MOST_SECONDS
    for chunk in chunks:
        size += len(chunk)
        if size > MOST_STAMP_BYTES:
            raise TimestampError(
                f"{asked}, and answered with more than {MOST_STAMP_BYTES:,} bytes. Check timestamp_url."
            )
        if time.monotonic() > deadline:
            raise TimestampError(f"{asked}, and did not finish its answer in {_MOST_SECONDS} s. Try again later.")
        yield chunk


@dataclass(frozen=True)
class StampAuthorities:
    """The time-stamp authorities that a verifier trusts.

    :param roots: their root certificates.
    """

    roots: tuple[Certificate, ...]

    @classmethod
    def of_pem(cls, pem: bytes, source: str) -> StampAuthorities:
        """Read root certificates in PEM.

        :param source: where they come from, for errors: such as ``file 'tsa.pem'``.
        :raises InvalidArgumentError: if there is none, or the extra is not installed.
        """
        from cryptography.x509 import load_pem_x509_certificates

        _client()
        try:
            return cls(tuple(load_pem_x509_certificates(pem)))
        except ValueError as error:
            raise InvalidArgumentError(f"{source} is not certificates in PEM ({error}).") from None

    def stamped_at(self, stamp: bytes, stamped: bytes) -> datetime:
        """Return when an authority saw some bytes, in UTC.

        :param stamp: the authority's answer, as it was stored.
        :raises StampError: if it is not a stamp on these bytes by one of these authorities.
        """
        client = _client()
        read = _decode(stamp)
        try:
            # The chain is built to one of the roots, with the certificates that the stamp carries.
            client.VerifierBuilder(roots=list(self.roots)).build().verify_message(read, stamped)
        except client.VerificationError as error:
            raise StampError(f"it does not verify ({error})") from None
        except Exception as error:
            # The library's parser may raise anything; whatever is in the stamp, it proves nothing.
            raise StampError(f"it cannot be verified ({type(error).__name__})") from None
        stamped_at: datetime = read.tst_info.gen_time
        return stamped_at.astimezone(timezone.utc)


def _decode(stamp: bytes) -> Any:
    client = _client()
    if len(stamp) > MOST_STAMP_BYTES:
        raise StampError(f"it has more than {MOST_STAMP_BYTES:,} bytes")
    try:
        read = client.decode_timestamp_response(stamp)
        if read.status != client.PKIStatus.GRANTED:
            raise StampError(f"the authority refused it (status {int(read.status)})")
        _ = read.tst_info.gen_time
    except StampError:
        raise
    except Exception as error:
        raise StampError(f"it is not an answer of a time-stamp authority ({type(error).__name__})") from None
    return read


def _client() -> Any:
    """Return the library, which is an extra."""
    try:
        return import_module("rfc3161_client")
    except ImportError as error:
        raise InvalidArgumentError(
            "Time stamps need rfc3161-client: pip install 'airflow-provider-curation[timestamp]'."
        ) from error
