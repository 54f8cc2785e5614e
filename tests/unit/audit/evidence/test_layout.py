"""Keys of an archive: a manifest's key leads back to its object's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_curation.audit.evidence.layout import SIGNATURE_SUFFIX, Layout


@pytest.mark.parametrize(("root", "prefix"), [("", ""), ("curation", "curation/"), ("a/b", "a/b/")])
def test_everything_lies_below_the_root(root: str, prefix: str) -> None:
    layout = Layout(root)

    assert layout.object_key("dt=1/x.jsonl.gz") == f"{prefix}dt=1/x.jsonl.gz"
    assert layout.manifest_key("dt=1/x.jsonl.gz") == f"{prefix}_manifests/dt=1/x.jsonl.gz.json"
    assert layout.seals == f"{prefix}_seals/"
    assert layout.quarantine == f"{prefix}_quarantine/"


@given(st.sampled_from(["", "curation", "a/b"]), st.text(min_size=1))
def test_a_manifests_key_leads_back_to_its_objects(root: str, relative: str) -> None:
    layout = Layout(root)

    assert layout.relative_key(layout.manifest_key(relative)) == relative
    assert layout.relative_key(layout.manifest_key(relative) + SIGNATURE_SUFFIX) is None
    assert layout.relative_key(layout.object_key(relative.lstrip("_"))) is None
