"""An impression records the contents that were shown, and its columns are those of the raw table."""

import re
from dataclasses import fields

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.contract.impressions import IMPRESSION_COLUMNS, OUTCOMES, Impression

IDS = st.text(min_size=1, max_size=3)


def impression(**logged):
    return Impression(request_id="r", user_id="ann", timestamp_us=0, **logged)


def test_a_field_for_every_column():
    assert [field.name.replace("timestamp_us", "timestamp") for field in fields(Impression)] == list(IMPRESSION_COLUMNS)
    assert set(OUTCOMES) <= set(IMPRESSION_COLUMNS)


def test_three_columns_are_required():
    required = [name for name, column in IMPRESSION_COLUMNS.items() if column.is_required]
    assert required == ["request_id", "user_id", "timestamp"]
    assert impression().propensity is None


@pytest.mark.parametrize(
    ("name", "kind", "is_fit"),
    [
        ("request_id", pa.int64(), True),
        ("timestamp", pa.timestamp("us", tz="UTC"), True),
        ("timestamp", pa.date32(), False),
        ("candidate_ids", pa.list_(pa.string()), True),
        ("candidate_ids", pa.string(), False),
        ("slot", pa.uint8(), True),
        ("slot", pa.float32(), False),
        ("propensity", pa.float64(), True),
        ("propensity", pa.string(), False),
        ("clicked", pa.bool_(), True),
        ("clicked", pa.int8(), False),
        ("saved", pa.null(), True),
    ],
)
def test_types_of_the_columns(name, kind, is_fit):
    assert IMPRESSION_COLUMNS[name].fits(kind) == is_fit


@given(propensity=st.floats(0, 1, exclude_min=True), slot=st.integers(0), others=st.lists(IDS), chosen=IDS)
def test_what_can_be(propensity, slot, others, chosen):
    shown = impression(propensity=propensity, slot=slot, chosen_id=chosen, candidate_ids=(*others, chosen))
    assert shown.propensity == propensity


@given(st.floats().filter(lambda chance: not 0 < chance <= 1))
def test_a_propensity_is_a_chance(propensity):
    with pytest.raises(ValueError, match=f"^propensity must be .* got {re.escape(str(propensity))}$"):
        impression(propensity=propensity)


@given(st.integers(max_value=-1))
def test_a_slot_is_counted_from_zero(slot):
    with pytest.raises(ValueError, match=f"^slot must be 0 or more, got {slot}$"):
        impression(slot=slot)


@given(st.lists(IDS), IDS)
def test_what_is_chosen_is_a_candidate(candidates, chosen):
    candidates = tuple(one for one in candidates if one != chosen)
    with pytest.raises(ValueError, match=f"is not among the {len(candidates)} candidate_ids$"):
        impression(chosen_id=chosen, candidate_ids=candidates)


def test_candidates_or_the_choice_may_be_unknown():
    assert impression(chosen_id="a").candidate_ids is None
    assert impression(candidate_ids=("a",)).chosen_id is None
