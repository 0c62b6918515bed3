"""The chance of a listen, fitted on listeners with known chances, and used for ranking."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from towers.contract.durations import DAY_US
from towers.contract.schema import ACTIONS
from towers.data.splits.leave_one_out import LeaveOneOut
from towers.data.splits.split import Split
from towers.data.splits.temporal import GlobalTemporal
from towers.data.store import Store
from towers.errors import DataLacks
from towers.evaluation.chance_fit import fit_chance
from towers.evaluation.harness import evaluate
from towers.evaluation.known import Known
from towers.evaluation.listening import Listening
from towers.evaluation.ranking.chances import ChanceScorer
from towers.evaluation.ranking.rankers import DenseRanker
from towers.evaluation.reliability import reliability
from towers.features.settings import FeatureSettings
from towers.retrieval.listen_chance import FEATURES, ListenChance, chance

pytestmark = pytest.mark.unhooked  # listener by listener: the hook would take most of the time
LISTENERS, CONTENTS, DIM = 300, 40, 8
START = datetime(2026, 1, 1, tzinfo=UTC)
CUTS = VALIDATION_START, TEST_START = "2026-02-10", "2026-02-25"
INTERCEPT, AFFINITY = -3.0, 2.5
"""True log odds of new contents for the listeners of this file."""
RETURN = 0.4
"""The chance that a listener comes back to a known content."""


def vectors_of() -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(0)
    both = draws.normal(size=(LISTENERS + CONTENTS, DIM))
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    return both[:LISTENERS].astype(np.float32), both[LISTENERS:].astype(np.float32)


def write_listening(folder: Path) -> Path:
    """Writes listeners who play five contents in January; in validation, and again in the test, each content by its
    chance.
    """
    draws = np.random.default_rng(1)
    users, contents = vectors_of()
    chances = chance((INTERCEPT + AFFINITY * (users @ contents.T)).ravel()).reshape(LISTENERS, CONTENTS)
    rows = []
    for user in range(LISTENERS):
        known = draws.permutation(CONTENTS)[:5]
        rows += [(user, content, START + timedelta(days=int(draws.integers(0, 30)))) for content in known.tolist()]
        for cut in CUTS:
            mine = np.where(np.isin(np.arange(CONTENTS), known), RETURN, chances[user])
            chosen = np.flatnonzero(draws.random(CONTENTS) < mine)
            first = datetime.fromisoformat(cut).replace(tzinfo=UTC)
            rows += [(user, content, first + timedelta(days=int(draws.integers(0, 13)))) for content in chosen.tolist()]
    return write_events(folder, [(f"u{user:03}", f"c{content:02}", time) for user, content, time in rows])


def write_events(folder: Path, rows: list[tuple[str, str, datetime]]) -> Path:
    user_ids, content_ids, times = zip(*rows, strict=True)
    stamps = pa.array(times, pa.timestamp("us", tz="UTC"))
    table = pa.table({"user_id": pa.array(user_ids), "content_id": pa.array(content_ids), "timestamp": stamps})
    (folder / "events").mkdir(parents=True)
    pq.write_table(table, folder / "events" / "part-0.parquet")
    return folder


@pytest.fixture(scope="module")
def prepared(make_builder: Callable, feature_settings: FeatureSettings) -> Callable[..., Store]:
    """Prepares a folder of raw events, with a split if given, to a store beside it."""
    features = replace(feature_settings, user_columns=())

    def prepare(raw: Path, split: Split | None = None) -> Store:
        split = split or GlobalTemporal(VALIDATION_START, TEST_START)
        return make_builder(raw, raw.parent / "stores", split=split, features=features).build()[0]

    return prepare


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory, prepared: Callable[[Path], Store]) -> Store:
    return prepared(write_listening(tmp_path_factory.mktemp("planted") / "raw"))


def by_row(store: Store) -> tuple[np.ndarray, np.ndarray]:
    """Returns vectors by row of the store; they are in the order of ids."""
    users, contents = vectors_of()
    return (
        users[[int(name[1:]) for name in store.user_ids.tolist()]],
        contents[[int(name[1:]) for name in store.content_ids.tolist()]],
    )


@pytest.fixture(scope="module")
def fitted(planted: Store) -> ListenChance:
    users, contents = by_row(planted)
    return fit_chance(planted, contents, lambda rows: users[rows])


def test_it_finds_the_odds_that_are_there(fitted: ListenChance) -> None:
    new = dict(zip(FEATURES, fitted.new.weights.tolist(), strict=True))
    assert abs(new["affinity"] - AFFINITY) < 0.4
    pairs = np.zeros((2, len(FEATURES)))
    pairs[:, FEATURES.index("affinity")] = -0.4, 0.4  # within which nearly all inner products lie
    np.testing.assert_allclose(np.diff(fitted.new(pairs)), 0.8 * AFFINITY, rtol=0.2)
    assert fitted.window == {"days": 14.0}
    assert fitted.fitted["listeners"] == LISTENERS
    assert fitted.fitted["held_out_listeners"] == LISTENERS // 5


def test_chances_agree_with_what_came_to_listeners_that_the_fit_has_not_seen(fitted: ListenChance) -> None:
    found = fitted.fitted["reliability"]
    for part in ("all", "heard", "new"):
        assert abs(found[part]["expected"] / found[part]["observed"] - 1) < 0.15
    assert abs(found["heard"]["observed"] - RETURN) < 0.08
    assert found["all"]["calibration_error"] < 0.2


def test_drawn_pairs_count_for_those_that_were_not(planted: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towers.evaluation.chance_fit.AT_MOST_PAIRS", LISTENERS * CONTENTS // 3)
    users, contents = by_row(planted)
    model = fit_chance(planted, contents, lambda rows: users[rows])
    new = model.fitted["reliability"]["new"]
    assert abs(new["expected"] / new["observed"] - 1) < 0.2
    assert abs(dict(zip(FEATURES, model.new.weights, strict=True))["affinity"] - AFFINITY) < 0.6


def test_it_ranks_both_the_familiar_and_the_new(planted: Store, fitted: ListenChance) -> None:
    """The figures are of the test period, which it was not fitted on, beside inner products alone."""
    users, contents = by_row(planted)
    task = Known(planted, "test").task
    listening = Listening(planted, "test")
    scorer = ChanceScorer(
        task, listening, users[task.user_rows], contents, [fitted], np.zeros(len(task.user_rows), np.int64)
    )

    class Affinity:
        name = "affinity"

        def scores(self, positions: np.ndarray) -> np.ndarray:
            return users[task.user_rows[positions]] @ contents.T

    recall = {
        each.name: evaluate(task, DenseRanker(task, each), filter_seen=False, ks=(5,), min_users=30).means()["recall@5"]
        for each in (scorer, Affinity())
    }
    assert recall[scorer.name] > recall["affinity"] + 0.1


def test_nothing_of_the_test_period_is_read(planted: Store, fitted: ListenChance) -> None:
    """Any listening after the second cut gives the same model."""
    histories = planted.histories
    starts = np.repeat(histories.test_start, np.diff(histories.offsets))
    is_test = np.arange(len(starts)) >= starts
    rows, is_positive = np.array(histories.content_row), np.array(histories.is_positive)
    rows[is_test], is_positive[is_test] = 0, False
    other = Store(planted.folder)
    other.__dict__["histories"] = replace(histories, content_row=rows, is_positive=is_positive)
    users, contents = by_row(planted)
    again = fit_chance(other, contents, lambda rows: users[rows])
    np.testing.assert_array_equal(again.new.weights, fitted.new.weights)
    np.testing.assert_array_equal(again.heard.weights, fitted.heard.weights)


def test_where_nobody_returns_the_chance_is_one_for_all(listening_of_new: Store) -> None:
    store = listening_of_new
    draws = np.random.default_rng(0)
    contents, users = draws.normal(size=(len(store.contents), 4)), draws.normal(size=(len(store.users), 4))
    model = fit_chance(store, contents, lambda rows: users[rows])
    assert not model.heard.weights.any()
    assert float(chance(np.array([model.heard.intercept]))[0]) < 0.01


@pytest.fixture
def listening_of_new(tmp_path: Path, prepared: Callable[[Path], Store]) -> Store:
    """Returns a store in which each listener plays each content once."""
    days = enumerate((0, 1, 2, 3, 42, 43, 60))
    rows = [
        (f"u{user:02}", f"c{(7 * user + place) % 40}", START + timedelta(days=day))
        for place, day in days
        for user in range(30)
    ]
    return prepared(write_events(tmp_path / "raw", rows))


def test_where_each_is_cut_at_their_own_time_the_window_is_of_events(
    tmp_path: Path, prepared: Callable[..., Store]
) -> None:
    """The window is of events even with a clock: the period of a listener is one event, at any time."""
    rows = [
        (f"u{user:02}", f"c{7 * user * (place + 1) % 11:02}", START + timedelta(days=place, hours=user))
        for user in range(20)
        for place in range(6)
    ]
    store = prepared(write_events(tmp_path / "raw", rows), LeaveOneOut())
    assert store.has_clock
    draws = np.random.default_rng(0)
    contents, users = draws.normal(size=(len(store.contents), 4)), draws.normal(size=(len(store.users), 4))
    assert fit_chance(store, contents, lambda rows: users[rows]).window == {"events": 1.0}


def test_without_listening_in_validation_there_is_none(tmp_path: Path, prepared: Callable[[Path], Store]) -> None:
    store = prepared(write_events(tmp_path / "raw", [("a", "x", START), ("a", "y", START + timedelta(days=60))]))
    with pytest.raises(DataLacks, match="no listener chooses anything in the validation period"):
        fit_chance(store, np.zeros((2, 4)), lambda rows: np.zeros((len(rows), 4)))


def test_reliability_of_three_bins_in_the_head() -> None:
    """Chances .1 (20 pairs, 2 came), .2 (10, 3 came) and .6 (10, 6 came): each bin is one chance."""
    chances = np.repeat([0.1, 0.2, 0.6], [20, 10, 10])
    came = np.concatenate([np.arange(20) < 2, np.arange(10) < 3, np.arange(10) < 6])
    found = reliability(chances, came, np.ones(40))
    assert found["expected"] == pytest.approx((2 + 2 + 6) / 40)
    assert found["observed"] == pytest.approx((2 + 3 + 6) / 40)
    assert sum(one["pairs"] for one in found["bins"]) == 40
    assert sum(one["expected"] * one["pairs"] for one in found["bins"]) == pytest.approx(10)
    assert reliability(np.zeros(0), np.zeros(0, bool), np.zeros(0)) == {}


def test_what_may_not_come_is_withheld(world_store: Store) -> None:
    """Withheld are dislikes without a later like, and contents that were only skipped in the last 30 days; nothing
    else.
    """
    listening, histories = Listening(world_store, "validation"), world_store.histories
    now_us, found = world_store.manifest["validation_start_us"], 0
    for user in listening.user_rows.tolist():
        said: dict[int, list[tuple[str, int]]] = {}
        for place in range(int(histories.offsets[user]), int(histories.train_end[user])):
            event = (ACTIONS[int(histories.action[place])], int(histories.timestamp_us[place]))
            said.setdefault(int(histories.content_row[place]), []).append(event)
        said.pop(-1, None)
        expected = set()
        for row, events in said.items():
            words = [action for action, _ in events if action in ("like", "save", "dislike")]
            heard = {action for action, _ in events} & {"play", "like", "save", "unsave"}
            skips = [time for action, time in events if action == "skip"]
            is_skipped = not heard and bool(skips) and skips[-1] > now_us - 30 * DAY_US
            if (words and words[-1] == "dislike") or is_skipped:
                expected.add(row)
        assert {*listening.withheld(user).tolist()} == expected
        found += len(expected)
    assert found
