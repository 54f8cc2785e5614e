"""Signatures and seals, verified by tools that are not ours: securesystemslib, OpenSSL, and the auditor's recipe."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from airflow_provider_curation.audit.evidence.chain import Trust
from airflow_provider_curation.audit.evidence.check import Check
from airflow_provider_curation.audit.evidence.key_ring import KeyRing, TrustedKey
from airflow_provider_curation.audit.evidence.keys import PrivateKey
from airflow_provider_curation.audit.evidence.local_archive import LocalArchive
from airflow_provider_curation.audit.evidence.verification import verify
from airflow_provider_curation.audit.window import Window
from tests.support.archives import DAY, START, Exporter, MemoryArchive, TruthClient
from tests.support.keys import ED25519, OTHER, P256, write_public

pytestmark = pytest.mark.integration

DAYS = list(Window(START, START + 3 * DAY).split(DAY))
PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "evidence.md"


@pytest.fixture(params=[ED25519, P256], ids=["ed25519", "p-256"])
def key(request: pytest.FixtureRequest) -> PrivateKey:
    made: PrivateKey = request.param
    return made


@pytest.fixture
def copy(key: PrivateKey, tmp_path: Path) -> Path:
    """A copy of an archive of three days, each sealed, with the public key beside it."""
    archive = MemoryArchive()
    exporter = Exporter(TruthClient(30, Window(START, DAYS[-1].end)), root="", key=key)
    for day in DAYS:
        exporter.export(archive, day)
    for name, body in archive.objects.items():
        path = tmp_path / "copy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    trust = Trust(KeyRing((TrustedKey(key.public_key, "audit.pub"),)))
    for day in DAYS:
        report = verify(LocalArchive(tmp_path / "copy"), Check("", day, trust=trust, signer=key, seal=True))
        assert report.seal, report.summary()
    write_public(tmp_path, "audit.pub", key)
    return tmp_path / "copy"


def signatures(copy: Path) -> list[Path]:
    found = sorted(copy.rglob("*.dsse"))
    assert len(found) == 6
    return found


def test_securesystemslib_verifies_every_signature(copy: Path, key: PrivateKey) -> None:
    trusted, other = (SSlibKey.from_crypto(each.public_key.key, each.key_id) for each in (key, OTHER))
    for path in signatures(copy):
        envelope = Envelope.from_dict(json.loads(path.read_bytes()))
        assert envelope.payload_type == "application/vnd.in-toto+json"
        assert list(envelope.verify([trusted], 1)) == [key.key_id]
        with pytest.raises(VerificationError):
            envelope.verify([other], 1)
        envelope.payload += b" "
        with pytest.raises(VerificationError):
            envelope.verify([trusted], 1)


def test_openssl_verifies_every_signature(copy: Path, key: PrivateKey, tmp_path: Path) -> None:
    for path in signatures(copy):
        envelope = json.loads(path.read_bytes())
        payload = base64.b64decode(envelope["payload"])
        kind = envelope["payloadType"]
        (tmp_path / "signed").write_bytes(b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload))
        (tmp_path / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
        assert openssl(tmp_path, key) == 0
        (tmp_path / "signed").write_bytes((tmp_path / "signed").read_bytes() + b" ")
        assert openssl(tmp_path, key) == 1


def openssl(folder: Path, key: PrivateKey) -> int:
    if key is ED25519:
        command = "pkeyutl -verify -pubin -inkey audit.pub -rawin -in signed -sigfile signature"
    else:
        command = "dgst -sha256 -verify audit.pub -signature signature signed"
    done = subprocess.run(["openssl", *command.split()], cwd=folder, capture_output=True, timeout=30, check=False)
    return done.returncode


def recipe() -> str:
    found = re.search(r"<!-- recipe -->\n```sh\n(.*?)```\n", PAGE.read_text(), re.DOTALL)
    assert found
    return found[1]


def run_recipe(copy: Path) -> subprocess.CompletedProcess[str]:
    script = f"set -euo pipefail\n{recipe()}"
    return subprocess.run(["bash", "-c", script], cwd=copy, capture_output=True, timeout=60, check=False, text=True)


needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")


@needs_jq
def test_the_auditors_recipe_verifies_the_copy(copy: Path) -> None:
    done = run_recipe(copy)
    assert done.returncode == 0, done.stderr
    assert re.search(r"noted one: [0-9a-f]{64}\n", done.stdout)
    assert "acme events jsonl: 30 events in 3 exports, 2025-01-01T00:00:00Z to 2025-01-04T00:00:00Z" in done.stdout


def data(copy: Path) -> Path:
    return min(copy.rglob("*.jsonl.gz"))


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def sign_with_another_key(copy: Path) -> None:
    write_public(copy.parent, "audit.pub", OTHER)


def use_a_manifests_signature_for_a_seal(copy: Path) -> None:
    shutil.copy(min((copy / "_manifests").rglob("*.dsse")), min((copy / "_seals").glob("*.dsse")))


WOUNDS: dict[str, Callable[[Path], object]] = {
    "an object altered": lambda copy: append(data(copy)),
    "an object gone": lambda copy: data(copy).unlink(),
    "a manifest altered": lambda copy: append(min((copy / "_manifests").rglob("*.json"))),
    "a manifest gone": lambda copy: min((copy / "_manifests").rglob("*.json")).unlink(),
    "a manifest's signature gone": lambda copy: min((copy / "_manifests").rglob("*.dsse")).unlink(),
    "a seal altered": lambda copy: append(max((copy / "_seals").glob("*.json"))),
    "a seal's signature gone": lambda copy: max((copy / "_seals").glob("*.dsse")).unlink(),
    "a seal in the middle gone": lambda copy: sorted((copy / "_seals").glob("*.json"))[1].unlink(),
    "another key": sign_with_another_key,
    "another purpose": use_a_manifests_signature_for_a_seal,
}


@needs_jq
@pytest.mark.parametrize("wound", WOUNDS)
def test_the_auditors_recipe_finds_each_wound(copy: Path, wound: str) -> None:
    WOUNDS[wound](copy)
    done = run_recipe(copy)
    assert done.returncode != 0, done.stdout
