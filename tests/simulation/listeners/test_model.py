"""A fitted simulator that is written and read again gives the same, bit for bit."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.simulation.listeners.conftest import QUICK, Fitted
from towers.contract.durations import DAY_US
from towers.errors import UserError
from towers.manifest import read_json, write_json
from towers.simulation.listeners import features
from towers.simulation.listeners.fitting import fit
from towers.simulation.listeners.live import Listeners, population_of
from towers.simulation.listeners.model import Simulator
from towers.simulation.listeners.replay import record
from towers.simulation.listeners.rollout import listen
from towers.simulation.listeners.session_log import COLUMNS, SessionLog

pytestmark = pytest.mark.unhooked
"""The tests run without the hook, which would check thousands of small steps; `test_shapes.py` has a short log
checked.
"""


def flat(facts: dict[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    found = {}
    for name, value in facts.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: np.asarray(value)}
    return found


def heard(simulator: Simulator, fitted: Fitted, seed: int) -> SessionLog:
    end_us = fitted.world.end_us
    return listen(simulator.central, simulator.space, fitted.log, end_us, end_us + DAY_US, seed)


def same(one: SessionLog, other: SessionLog) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in COLUMNS)


def test_a_simulator_that_was_written_is_read_as_it_was(fitted: Fitted, tmp_path: Path) -> None:
    simulator = fitted.simulator
    simulator.write(tmp_path / "one")
    read = Simulator.read(tmp_path / "one")
    for one, other in zip((simulator.central, *simulator.members), (read.central, *read.members), strict=True):
        written, again = flat(one.facts()), flat(other.facts())
        assert written.keys() == again.keys()
        for name, value in written.items():
            np.testing.assert_array_equal(value, again[name], err_msg=name)
    for field in fields(simulator.space):
        np.testing.assert_array_equal(getattr(simulator.space, field.name), getattr(read.space, field.name))
    assert (read.until_us, read.contexts, read.devices) == (simulator.until_us, simulator.contexts, simulator.devices)
    assert same(heard(simulator, fitted, 3), heard(read, fitted, 3))


def test_the_same_seed_is_the_same_listening_and_another_is_another(fitted: Fitted) -> None:
    one, again, other = (heard(fitted.simulator, fitted, seed) for seed in (0, 0, 1))
    assert len(one) > 50
    assert same(one, again)
    assert not same(one, other)


def test_what_was_heard_is_a_log(fitted: Fitted) -> None:
    log = heard(fitted.simulator, fitted, 0)
    end_us = fitted.world.end_us
    starts = log.start_us[log.session_begins]
    assert ((starts >= end_us) & (starts < end_us + DAY_US)).all()
    assert (np.diff(log.listener) >= 0).all()
    assert (np.diff(log.start_us)[np.diff(log.session) == 0] > 0).all()
    assert (fitted.world.space.released_us[log.content] <= log.start_us).all()
    assert ((log.fraction >= 0) & (log.fraction <= 1)).all()
    assert not (log.disliked & (log.outcome != 0)).any()


def test_listeners_who_were_restored_do_the_same(fitted: Fitted) -> None:
    simulator = fitted.simulator
    population = population_of(simulator.central, simulator.space, fitted.log, fitted.world.end_us)
    listeners = Listeners(simulator.central, population, 5)
    rows = np.arange(20)
    listeners.begin(rows, np.full(20, fitted.world.end_us))
    kept = listeners.arrays()

    def turn() -> list[np.ndarray]:
        content = listeners.choose(rows)
        reaction = listeners.react(rows, content)
        leaves = listeners.leave(rows)
        return [
            content,
            reaction.outcome,
            reaction.fraction,
            leaves,
            listeners.next_session_us(rows, np.zeros(20, int)),
        ]

    first = turn()
    listeners.restore(kept)
    for one, again in zip(first, turn(), strict=True):
        np.testing.assert_array_equal(one, again)


def test_a_log_of_few_listeners_is_refused(fitted: Fitted) -> None:
    few = fitted.log.of_listeners(np.arange(40) < 8)
    with pytest.raises(UserError, match=r"[5-8] listeners with plays .* needs 10 \(fit\.min_listeners\)"):
        fit(few, fitted.world.space, QUICK, fitted.world.end_us)


@pytest.mark.parametrize("name", ["satiation", "position", "streak"])
def test_the_effect_of_a_feature_is_the_slope_of_the_log_odds(fitted: Fitted, name: str) -> None:
    model = fitted.simulator.central
    seen = record(fitted.log, fitted.simulator.space, model.drift)
    of, place = (
        ("of_content", features.OF_CONTENT.index(name))
        if name in features.OF_CONTENT
        else ("of_moment", features.OF_MOMENT.index(name))
    )

    def mean_log_odds(shift: float) -> float:
        read = {"of_content": seen.of_content.copy(), "of_moment": seen.of_moment.copy()}
        read[of][:, place] += shift
        design = model.response.design(read["of_content"], read["of_moment"], fitted.log.context)
        return float(model.response.chances["skip"].log_odds(design.astype(float)).mean(dtype=float))

    design = model.response.design(seen.of_content, seen.of_moment, fitted.log.context)
    slope = (mean_log_odds(0.5) - mean_log_odds(-0.5)) / 1.0
    assert model.response.effect(name, design) == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_one_that_reads_other_features_is_refused(fitted: Fitted, tmp_path: Path) -> None:
    fitted.simulator.write(tmp_path / "old")
    facts = read_json(tmp_path / "old" / "simulator.json")
    write_json(tmp_path / "old" / "simulator.json", facts | {"reads": facts["reads"][1:]})
    with pytest.raises(UserError, match="reads other features; fit it again"):
        Simulator.read(tmp_path / "old")
