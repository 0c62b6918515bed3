"""Facts about earlier plays, against loops that a reader can follow."""

import numpy as np
import pytest

from tests.simulation.checks import logs
from towers.simulation.checks.heard import LAST, Heard
from towers.simulation.listeners.session_log import SKIP


@pytest.fixture(scope="module")
def seen():
    """The facts, and for each play of the period the listener's earlier plays."""
    facts = logs.heard(logs.listened(listeners=8, seed=3, per_day=0.4))
    assert len(facts.log) > 300
    both = [(facts.before, at) for at in range(len(facts.before))] + [(facts.log, at) for at in range(len(facts.log))]
    both.sort(key=lambda one: (one[0].listener[one[1]], one[0].start_us[one[1]]))
    earlier, of_play = {}, {}
    for log, at in both:
        mine = earlier.setdefault(int(log.listener[at]), [])
        if log is facts.log:
            of_play[at] = list(mine)
        mine.append((int(log.content[at]), int(log.outcome[at]), int(log.start_us[at])))
    return facts, [of_play[at] for at in range(len(facts.log))]


def test_familiarity_and_what_comes_again(seen):
    facts, before = seen
    content = facts.log.content.tolist()
    assert facts.earlier.tolist() == [sum(one[0] == c for one in b) for c, b in zip(content, before, strict=True)]
    expected = [sum(one[0] == c for one in b[-LAST:]) for c, b in zip(content, before, strict=True)]
    assert facts.among_last.tolist() == expected
    assert max(expected) >= 2, "the case has something to count"


def test_repeats_among_the_last(seen):
    facts, before = seen
    expected = []
    for mine in before:
        is_repeat = [one[0] in {other[0] for other in mine[:at]} for at, one in enumerate(mine)]
        expected.append(sum(is_repeat[-LAST:]))
    assert facts.repeats_among_last.tolist() == expected


def test_when_last(seen):
    facts, before = seen
    expected = [
        min([(s - one[2]) / 1e6 for one in b if one[0] == c], default=np.nan)
        for c, s, b in zip(facts.log.content, facts.log.start_us, before, strict=True)
    ]
    np.testing.assert_allclose(facts.since_last_s, expected)
    ends = [before[at][-1][2] if before[at] else -1 for at in facts.log.session_begins]
    assert facts.previous_session_us.tolist() == ends


@pytest.mark.parametrize("block", [1, 50, 1 << 20])
def test_affinity(seen, block, monkeypatch):
    """The affinity is the same for any number of plays that are summed up at a time."""
    monkeypatch.setattr("towers.simulation.checks.heard._BLOCK", block)
    facts, before = seen
    vectors = logs.SPACE.vectors.astype(np.float64)
    found = facts.affinity(logs.SPACE)
    for at in range(0, len(before), 7):
        kept = [one[0] for one in before[at] if one[1] != SKIP]
        if not kept:
            assert np.isnan(found[at])
            continue
        mean = vectors[kept].mean(axis=0)
        assert found[at] == pytest.approx(mean @ vectors[facts.log.content[at]] / np.linalg.norm(mean), abs=1e-5)


def test_nothing_before():
    log = logs.listened(listeners=4, seed=1)
    facts = logs.heard(log, before=logs.without_plays(log))
    assert facts.earlier[0] == 0
    assert facts.previous_session_us[0] == -1
    assert facts.plays_before.tolist() == [0] * 4


def test_other_listeners_are_refused():
    one, other = logs.listened(listeners=3), logs.listened(listeners=4)
    with pytest.raises(ValueError, match="other listeners"):
        Heard(log=one, before=other, begin_us=0, end_us=1)
