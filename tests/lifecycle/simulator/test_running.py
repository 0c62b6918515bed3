import pytest

from towers.errors import UserError
from towers.lifecycle.simulator.running import Run

RUN = {"days": 1.0, "listeners": None, "begin_us": None, "member": None, "seed": 0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"days": 0.0}, "run.days=0: must be above 0"),
        ({"days": float("nan")}, "run.days=nan: must be above 0"),
        ({"listeners": 0}, "run.listeners=0: must be at least 1, or null for everybody"),
        ({"member": -1}, "run.member=-1: must be 0 or more"),
        ({"seed": -1}, "run.seed=-1: must be 0 or more"),
    ],
)
def test_a_number_that_cannot_be(change, said):
    with pytest.raises(UserError) as refusal:
        Run(**{**RUN, **change})
    assert str(refusal.value) == said
