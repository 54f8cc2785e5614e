"""The digest of ids: the same in every order and in every cut, and it shows ids that are gone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_curation.audit.ids_digest import IdsDigest

ids = st.lists(st.integers(0, 2**63), max_size=30, unique=True)


@given(ids, st.randoms(), st.integers(0, 30))
def test_is_the_same_in_every_order_and_cut(numbers: list[int], order: object, place: int) -> None:
    shuffled = list(numbers)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    whole = IdsDigest.of(shuffled[:place])
    whole.add(IdsDigest.of(shuffled[place:]))
    assert whole == IdsDigest.of(numbers)
    assert IdsDigest.parse(str(whole)) == whole


@given(
    ids, st.lists(st.integers(1, 60), max_size=6, unique=True), st.lists(st.integers(61, 120), max_size=3, unique=True)
)
def test_up_to_three_ids_that_were_replaced_by_others_show(common: list[int], gone: list[int], late: list[int]) -> None:
    gone = gone[:3]
    common = [number for number in common if number > 120]
    before, after = IdsDigest.of(common + gone), IdsDigest.of(common + late)
    assert (str(before) == str(after)) == (gone == late == [])


@given(ids, ids)
def test_a_set_that_was_only_added_to_may_hold_all_of_it(numbers: list[int], late: list[int]) -> None:
    late = [number for number in late if number not in numbers]
    assert IdsDigest.of(numbers + late).may_hold_all_of(IdsDigest.of(numbers))


@given(
    st.lists(st.integers(1, 2**63), min_size=1, max_size=30, unique=True),
    st.lists(st.integers(1, 2**63), max_size=3, unique=True),
    st.data(),
)
def test_one_id_that_is_gone_is_proven_with_up_to_three_late_ones(
    numbers: list[int], late: list[int], data: st.DataObject
) -> None:
    late = [number for number in late if number not in numbers]
    gone = data.draw(st.sampled_from(numbers))
    left = [number for number in numbers if number != gone]
    assert not IdsDigest.of(left + late).may_hold_all_of(IdsDigest.of(numbers))


@given(ids)
def test_policies_tell_dry_run_events_of_one_id_apart(numbers: list[int]) -> None:
    first, second = ([(number, (policy,)) for number in numbers] for policy in ("1", "2"))
    one, other = IdsDigest.of_dry_run(first), IdsDigest.of_dry_run(second)
    assert (one == other) == (not numbers)
    assert IdsDigest.of_dry_run([*first, *second]).may_hold_all_of(one)
    assert IdsDigest.of_dry_run([(1, ("1", "2"))]) != IdsDigest.of_dry_run([(1, ("12",))])


@pytest.mark.parametrize("text", ["", "1", "1:2", "1:2:3:x", "1:2:3:4:5", "x:1:1:1", "1-2-3-4"])
def test_what_is_not_a_digest_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        IdsDigest.parse(text)
