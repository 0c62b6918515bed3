"""The later value of a listen: fitted to a store's log up to the end of training, and reported by an export."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.publishing.listening import START, unit
from towers.contract.events import microseconds_of
from towers.data.splits.temporal import GlobalTemporal
from towers.data.store import Store
from towers.errors import UserError
from towers.policies.long_term import fitting
from towers.publishing.long_term import LongTermSettings, long_term, write_long_term
from towers.retrieval.artists import artist_rows
from towers.retrieval.ids import Ids
from towers.retrieval.long_term import LongTerm

ARTISTS, TRACKS, LISTENERS, DAYS, OFTEN = 10, 3, 60, 40, 0.8
UNTIL_US = microseconds_of(START + timedelta(days=DAYS))
SETTINGS = LongTermSettings(days=14, burn_in_days=0)


def write_raw(folder: Path) -> Path:
    """Writes raw events in which each listener discovers an artist every second day, by the first or second track.

    They mostly come back to the artists of even number on every fifth day, by the third track, which no listener
    discovers. After training they play all artists every day.
    """
    draws = np.random.default_rng(0)
    events = []
    for listener in range(LISTENERS):
        for place, artist in enumerate(draws.permutation(ARTISTS).tolist()):
            returns = [day for day in range(2 * place + 5, DAYS, 5) if artist % 2 == 0 and draws.random() < OFTEN]
            days = [2 * place, *returns, *range(DAYS, DAYS + 20)]
            for day in days:
                track = 2 if day != 2 * place else listener % 2
                time = START + timedelta(days=day, minutes=listener + 60 * artist)
                events.append({"user_id": f"u{listener:02}", "content_id": f"t{artist}-{track}", "timestamp": time})
    names = [(f"t{artist}-{track}", f"a{artist}") for artist in range(ARTISTS) for track in range(TRACKS)]
    contents = [{"content_id": name, "kind": "track", "artist_ids": [artist]} for name, artist in names]
    contents += [{"content_id": f"a{artist}", "kind": "artist", "artist_ids": []} for artist in range(ARTISTS)]
    for table, rows in (("events", events), ("contents", contents)):
        (folder / table).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / table / "part-0.parquet")
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory, make_builder, feature_settings) -> Store:
    folder = tmp_path_factory.mktemp("returning")
    split = GlobalTemporal(*(f"{START + timedelta(days=days):%Y-%m-%d}" for days in (DAYS, DAYS + 10)))
    features = replace(feature_settings, user_columns=())
    return make_builder(write_raw(folder / "raw"), folder / "stores", split=split, features=features).build()[0]


@pytest.fixture(scope="module")
def found(store, vectors, artists) -> LongTerm:
    return long_term(store, vectors, artists, UNTIL_US, SETTINGS)


@pytest.fixture(scope="module")
def vectors(store) -> np.ndarray:
    """Returns vectors whose first direction says whether the artist is of even number; the others say nothing."""
    is_even = np.array([int(name[1]) % 2 == 0 for name in store.content_ids.tolist()])
    noise = np.random.default_rng(1).normal(size=(len(is_even), 4))
    return unit(np.where(is_even, 1.0, -1.0)[:, None] * np.eye(4)[0] + 0.3 * noise).astype(np.float32)


@pytest.fixture(scope="module")
def artists(store):
    contents = store.contents
    return artist_rows(contents["artist_ids"], Ids.of(contents["content_id"]), store.kind_codes)


def by_name(store: Store, values: np.ndarray) -> dict[str, float]:
    return dict(zip(store.content_ids.tolist(), values.tolist(), strict=True))


def test_what_is_come_back_to_is_worth_more_and_artists_know_what_their_tracks_do(store, found):
    """Listeners come back to even artists on two of 14 days, the fifth and the tenth, with a chance of .8 each."""
    expected, deviation = by_name(store, found.expected), by_name(store, found.deviation)
    for artist in range(ARTISTS):
        returns = 2 * OFTEN if artist % 2 == 0 else 0.0
        for name in (f"t{artist}-0", f"t{artist}-1", f"a{artist}"):
            assert expected[name] == pytest.approx(returns, abs=0.35), name
        assert deviation[f"a{artist}"] < deviation[f"t{artist}-0"]
        assert deviation[f"t{artist}-0"] < deviation[f"t{artist}-2"] == pytest.approx(found.prior_deviation)
    assert found.fitted["discoveries"] == LISTENERS * ARTISTS
    assert (found.days, found.returns_to) == (14, "artist")


def test_what_nobody_discovered_has_the_value_of_its_vector(store, vectors, found):
    rows = [row for row, name in enumerate(store.content_ids.tolist()) if name.endswith("-2")]
    np.testing.assert_allclose(found.expected[rows], found.of_new(vectors[rows]), atol=1e-6)
    even = np.array([int(store.content_ids[row][1]) % 2 == 0 for row in rows])
    assert found.expected[rows][even].min() > found.expected[rows][~even].max()


def test_no_event_after_training_is_read(store, vectors, artists):
    settings = replace(SETTINGS, days=30)
    found = long_term(store, vectors, artists, UNTIL_US, settings)
    cut = long_term(store.cut(UNTIL_US), vectors, artists, UNTIL_US, settings)
    np.testing.assert_array_equal(cut.expected, found.expected)
    np.testing.assert_array_equal(cut.deviation, found.deviation)
    later = long_term(store, vectors, artists, UNTIL_US + 10 * 86_400_000_000, settings)
    assert later.fitted["mean_return"] > 1.2 * found.fitted["mean_return"]


def test_a_content_may_be_what_is_come_back_to(store, vectors, artists):
    """No listener comes back to the track of the discovery, but to the third of even artists on days 5, 10."""
    found = long_term(store, vectors, artists, UNTIL_US, replace(SETTINGS, returns_to="content"))
    expected = by_name(store, found.expected)
    assert max(expected[f"t{artist}-0"] for artist in range(ARTISTS)) < 0.5
    assert min(expected[f"t{artist}-2"] for artist in range(0, ARTISTS, 2)) > 0.8
    first = np.arange(14) == 4
    fifth = replace(SETTINGS, day_weights=tuple(first.astype(float)))
    assert long_term(store, vectors, artists, UNTIL_US, fifth).expected.max() == pytest.approx(OFTEN, abs=0.25)


def test_the_model_may_be_of_some_listeners_and_evidence_is_of_all(store, vectors, artists, found, monkeypatch):
    monkeypatch.setattr("towers.publishing.long_term.AT_ONCE", 3_000)
    monkeypatch.setattr(fitting, "AT_MOST_PAIRS", 150)
    monkeypatch.setattr(fitting, "AT_MOST_CONTENTS", 12)
    some = long_term(store, vectors, artists, UNTIL_US, SETTINGS)
    assert some.fitted["discoveries"] == LISTENERS * ARTISTS
    assert np.corrcoef(some.expected, found.expected)[0, 1] > 0.95


@pytest.mark.parametrize(
    ("until_us", "settings", "reason"),
    [
        (None, SETTINGS, "no clock, or training ends at another time"),
        (UNTIL_US, None, "export.long_term is null"),
        (microseconds_of(START + timedelta(days=8)), SETTINGS, "too short, or too small, for delayed outcomes"),
    ],
)
def test_a_log_that_does_not_say_is_told_and_nothing_is_written(
    tmp_path, store, vectors, artists, until_us, settings, reason
):
    told = write_long_term(tmp_path / "long_term", store, vectors, artists, "space", until_us, settings)
    assert reason in told["reason"]
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("keywords", "key"),
    [
        ({"least_days": 60}, "least_days"), ({"least_days": 0}, "least_days"), ({"burn_in_days": -1}, "burn_in_days"),
        ({"day_weights": (1.0,)}, "day_weights"), ({"day_weights": (0.0,) * 59}, "day_weights"),
        ({"day_weights": (-1.0,) + (1.0,) * 58}, "day_weights"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(keywords, key):
    with pytest.raises(UserError, match=f"export.long_term.{key}"):
        LongTermSettings(**keywords)
