import pytest

from towers.errors import UserError
from towers.lifecycle.simulator.running import Offer, Run

RUN = {"days": 1.0, "listeners": None, "begin_us": None, "member": None, "seed": 0, "offer": Offer()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"days": 0.0}, "run.days=0: must be above 0"),
        ({"days": float("nan")}, "run.days=nan: must be above 0"),
        ({"listeners": 0}, "run.listeners=0: must be at least 1, or null for all"),
        ({"member": -1}, "run.member=-1: must be 0 or more"),
        ({"seed": -1}, "run.seed=-1: must be 0 or more"),
    ],
)
def test_a_number_that_cannot_be(change, said):
    with pytest.raises(UserError) as refusal:
        Run(**{**RUN, **change})
    assert str(refusal.value) == said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"slate": -1}, "run.slate=-1: must be 0 or more"),
        ({"slate": 10, "candidates": 9}, "run.candidates=9: must be at least run.slate=10"),
        ({"own_pull": float("nan")}, "run.own_pull=nan: must be a number"),
    ],
)
def test_a_shelf_that_cannot_be(change, said):
    with pytest.raises(UserError) as refusal:
        Offer(**change)
    assert str(refusal.value) == said
