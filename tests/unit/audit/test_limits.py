"""Limits: positive numbers, named in errors as the connection's extras."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.limits import LONGEST_LINE, Limits


@pytest.mark.parametrize("limit", [0, -1, True, "64", None, float("nan")])
@pytest.mark.parametrize("name", [each.name for each in fields(Limits)])
def test_a_limit_is_a_positive_number(name: str, limit: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{name}="):
        Limits(**{name: limit})


@pytest.mark.parametrize("name", [each.name for each in fields(Limits) if each.name != "answer_deadline"])
def test_only_the_deadline_has_a_fraction(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{name}=1.5 is not a positive whole number"):
        Limits(**{name: 1.5})  # type: ignore[arg-type]
    assert Limits(answer_deadline=1.5).answer_deadline == 1.5


def test_an_event_fits_into_memory() -> None:
    assert Limits(max_line_bytes=LONGEST_LINE).max_line_bytes == LONGEST_LINE
    with pytest.raises(InvalidArgumentError, match="cannot be checked in memory"):
        Limits(max_line_bytes=LONGEST_LINE + 1)


def test_an_error_names_the_extra_and_its_value() -> None:
    assert "extra max_nesting=7" in Limits(max_nesting=7).exceeded("max_nesting")
