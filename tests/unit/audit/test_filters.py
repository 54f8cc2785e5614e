"""Filters: shell patterns with case, and what they cannot be made of."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_curation.audit.filters import EventFilter

#: Machines that run other tests beside these are slow.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

LISTS = ("actions", "package_types", "repositories", "policies")

words = st.text(alphabet="aAbB-.[]*?!1\n", max_size=6)
patterns = st.lists(words, min_size=1, max_size=4)
maybe_patterns = st.none() | patterns


@settings(UNHURRIED)
@given(maybe_patterns, maybe_patterns, maybe_patterns, maybe_patterns, words, words, words, st.lists(words, max_size=3))
def test_wants_what_fnmatch_says(
    actions: list[str] | None,
    types: list[str] | None,
    repositories: list[str] | None,
    policies: list[str] | None,
    action: str,
    kind: str,
    repository: str,
    named: list[str],
) -> None:
    def fits(values: list[str], chosen: list[str] | None) -> bool:
        return chosen is None or any(fnmatchcase(value, pattern) for value in values for pattern in chosen)

    wanted = EventFilter.of(actions, types, repositories, policies)
    expected = (
        fits([action], actions) and fits([kind], types) and fits([repository], repositories) and fits(named, policies)
    )
    assert wanted.wants(action, kind, repository, named) is expected


@pytest.mark.parametrize(
    ("chosen", "fits"),
    [
        ({}, True),
        ({"actions": ["blocked"]}, True),
        ({"actions": ["Blocked"]}, False),
        ({"actions": ["block"]}, False),
        ({"actions": ["locked"]}, False),
        ({"package_types": ["pm"]}, False),
        ({"repositories": ["npm-remote"]}, False),
        ({"policies": ["icious"]}, False),
        ({"actions": ["approved", "b*"]}, True),
        ({"package_types": ["Np?", "np?"]}, True),
        ({"package_types": ["PyPI"]}, False),
        ({"repositories": ["acme-*"]}, True),
        ({"repositories": ["acme-[!n]*"]}, False),
        ({"policies": ["malicious*"]}, True),
        ({"policies": ["1180"]}, True),
        ({"policies": [1180]}, True),
        ({"policies": ["118"]}, False),
        ({"actions": ["blocked"], "policies": ["legal"]}, False),
    ],
)
def test_every_list_must_fit(chosen: dict[str, Any], fits: bool) -> None:
    wanted = EventFilter.of(**chosen)
    assert wanted.wants("blocked", "npm", "acme-npm-remote", ["malicious", "1180"]) is fits


def test_an_event_without_policies_fits_no_policy() -> None:
    assert not EventFilter.of(policies=["*"]).wants("approved", "npm", "acme-npm-remote", [])


@pytest.mark.parametrize("name", LISTS)
def test_a_string_or_an_empty_list_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name}='blocked' is a string"):
        EventFilter.of(**{name: "blocked"})
    with pytest.raises(ValueError, match=rf"^{name}=\[\] matches no event"):
        EventFilter.of(**{name: []})


@pytest.mark.parametrize("name", LISTS)
def test_is_true_and_told_if_any_list_is_given(name: str) -> None:
    assert EventFilter.of(**{name: ["a*", "b"]})
    assert EventFilter.of(**{name: ["a*", "b"]}).as_dict() == {name: ["a*", "b"]}


def test_is_false_without_lists() -> None:
    assert not EventFilter.of()
    assert EventFilter.of().as_dict() == {}
    assert EventFilter.of() == EventFilter()
    assert EventFilter().wants("", "", "", [])
