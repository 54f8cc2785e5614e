"""Keys that S3, or a copy of the archive in a folder, cannot hold."""

from __future__ import annotations

import pytest

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.s3.location import LONGEST_SUFFIX, MOST_KEY_BYTES, locate


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("a/../b", "parent"),
        ("..", "parent"),
        ("a\nb", "control characters"),
        ("a\x00", "control characters"),
        ("a\x85b", "control characters"),
        ("a\ud800b", "control characters"),
        ("a" * 1024, "1,024"),
        ("ä" * 500, "1,024"),
    ],
)
def test_a_key_that_cannot_be_kept_is_refused(key: str, reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        locate("archive", "curation", key, {})


def test_two_points_in_a_name_are_fine() -> None:
    assert locate("archive", "curation", "a..b/c", {}).key == "curation/a..b/c"


def test_the_longest_key_leaves_room_for_its_manifest_and_signature() -> None:
    longest = MOST_KEY_BYTES - LONGEST_SUFFIX - len("curation/_manifests/.json")
    place = locate("archive", "curation", "a" * longest, {})
    assert len(place.manifest_key) + LONGEST_SUFFIX == MOST_KEY_BYTES
    with pytest.raises(InvalidArgumentError):
        locate("archive", "curation", "a" * (longest + 1), {})
