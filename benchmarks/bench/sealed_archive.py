"""The made-up archive, signed and sealed with a made-up key."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from airflow_provider_curation.audit.evidence.keys import PrivateKey
from airflow_provider_curation.audit.evidence.layout import SIGNATURE_SUFFIX
from airflow_provider_curation.audit.evidence.manifest import StoredManifest, manifest_subjects
from airflow_provider_curation.audit.evidence.seal import entry, new_seal, seal_key, seal_subjects
from airflow_provider_curation.audit.evidence.signature import sign
from airflow_provider_curation.audit.evidence.statement import Purpose
from airflow_provider_curation.audit.window import Window
from bench.made_archive import LAYOUT, hour, objects


def key() -> PrivateKey:
    """Return the key, which is the same in every process."""
    made = Ed25519PrivateKey.from_private_bytes(sha256(b"made up").digest())
    return PrivateKey.of_pem(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "made up")


def sealed_objects(hours: int) -> Iterator[tuple[str, bytes]]:
    """Yield each key with its bytes: the exports, a signature of each manifest, and one signed seal."""
    signer, entries = key(), []
    for name, body in objects(hours):
        yield name, body
        if (relative := LAYOUT.relative_key(name)) is not None:
            stored = StoredManifest.parse(body)
            entries.append(entry(name.removeprefix(LAYOUT.prefix), stored))
            subjects = manifest_subjects(relative, stored.facts["sha256"], stored.sha256)
            yield name + SIGNATURE_SUFFIX, sign(Purpose.MANIFEST, subjects, signer, stored.window.end)
    period = Window(hour(0).start, hour(hours - 1).end)
    seal, name = new_seal(LAYOUT, period, entries, None, period.end), seal_key(LAYOUT, period)
    yield name, seal
    subjects = seal_subjects(LAYOUT, name, sha256(seal).hexdigest())
    yield name + SIGNATURE_SUFFIX, sign(Purpose.SEAL, subjects, signer, period.end)
