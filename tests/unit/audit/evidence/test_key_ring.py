"""Key rings as users keep them: a file, a list with dates, a folder."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.evidence.key_ring import KeyRing, TrustedKey
from tests.support.keys import ED25519, OTHER, P256, pem, write_public

YEAR = datetime(2026, 1, 1, tzinfo=timezone.utc)


def test_a_file_holds_one_key(tmp_path: Path) -> None:
    ring = KeyRing.load(write_public(tmp_path, "audit.pub", ED25519))
    [key] = ring.keys
    assert (key.public_key.id, key.valid_from, key.valid_until, key.revoked_from) == (ED25519.key_id, None, None, None)
    assert "audit.pub" in key.name
    assert ring.get(ED25519.key_id) is key
    assert ring.get(OTHER.key_id) is None


def test_a_list_gives_dates(tmp_path: Path) -> None:
    listed = {"keys": [{"public_key": P256.public_key.pem, "name": "2026", "valid_from": "2026-01-01T01:00:00+01:00"}]}
    path = tmp_path / "ring.json"
    path.write_text(json.dumps(listed))
    assert KeyRing.load(path).keys == (TrustedKey(P256.public_key, "2026", valid_from=YEAR),)


def test_a_folder_holds_keys_and_their_dates(tmp_path: Path) -> None:
    for name, key in {"2025.pub": ED25519, "2026.pem": P256, "2027.pub": OTHER}.items():
        write_public(tmp_path, name, key)
    (tmp_path / "README").write_text("not a key")
    dated = {
        "keys": [{"file": "2025.pub", "valid_until": "2026-01-01T00:00:00Z", "revoked_from": "2026-01-01T00:00:00Z"}]
    }
    (tmp_path / "keys.json").write_text(json.dumps(dated))
    found = {key.name: (key.public_key.id, key.valid_until, key.revoked_from) for key in KeyRing.load(tmp_path).keys}
    assert found == {
        "2025.pub": (ED25519.key_id, YEAR, YEAR),
        "2026.pem": (P256.key_id, None, None),
        "2027.pub": (OTHER.key_id, None, None),
    }


def test_rings_are_joined() -> None:
    one, two = (KeyRing.of_pem(key.public_key.pem, "x") for key in (ED25519, P256))
    assert [key.public_key.id for key in KeyRing.join([one, two, one]).keys] == [ED25519.key_id, P256.key_id]
    assert not KeyRing()
    dated = KeyRing((TrustedKey(ED25519.public_key, "y", revoked_from=YEAR),))
    with pytest.raises(InvalidArgumentError, match="x and y are the same key with different dates"):
        KeyRing.join([one, dated])


def entry(**facts: Any) -> str:
    return json.dumps({"keys": [{"public_key": ED25519.public_key.pem, **facts}]})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not a key ring: it is not JSON"),
        ('{"keys": []}', "at least one key"),
        ('{"keys": [{}], "more": 1}', "at least one key"),
        ('{"keys": ["x"]}', "does not have public_key"),
        ('{"keys": [{"public_key": "x"}]}', "key 1 is not one public key"),
        (json.dumps({"keys": [{"public_key": pem("signing")}]}), "holds a private key"),
        (entry(revoked="2026-01-01T00:00:00Z"), "has 'revoked', which is none of public_key, name, valid_from"),
        (entry(revoked_from="soon"), "key 1: revoked_from='soon' is not an ISO 8601 time"),
        (entry(revoked_from="2026-01-01T00:00:00"), "no time zone"),
        (entry(valid_from=7), "key 1: valid_from=7"),
        (entry(valid_from="2026-01-02T00:00:00Z", valid_until="2026-01-01T00:00:00Z"), "not before valid_until"),
        (entry()[:-1] + ',"keys":[]}', "two members named 'keys'"),
        ("a password", "not one public key"),
    ],
)
def test_what_is_not_a_key_ring_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidArgumentError, match=why):
        KeyRing.of_text(text, "file 'x'")


def test_folders_that_are_not_key_rings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"holds no public key"):
        KeyRing.load(tmp_path)
    with pytest.raises(InvalidArgumentError, match=r"cannot be read"):
        KeyRing.load(tmp_path / "nowhere")
    (tmp_path / "keys.json").write_text('{"keys": [{"file": "../audit.pub"}]}')
    with pytest.raises(InvalidArgumentError, match="not a file's name in the folder"):
        KeyRing.load(tmp_path)
    (tmp_path / "keys.json").write_text('{"keys": [{"file": "gone.pub"}]}')
    with pytest.raises(InvalidArgumentError, match=r"gone.pub' cannot be read"):
        KeyRing.load(tmp_path)
