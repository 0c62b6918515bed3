"""The model of the chance of a listen: its sums, its file, and lists that it ranks."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.retrieval.small_export import content, small_export
from tests.retrieval.test_index import clustered
from towers.contract import schema
from towers.errors import UserError
from towers.features.content_facts import ContentFacts, artist_codes
from towers.features.familiarity import Familiarity
from towers.publishing.index import IvfSettings
from towers.retrieval.export import Export
from towers.retrieval.listen_chance import FEATURES, ListenChance, LogOdds, chance, pair_features
from towers.retrieval.query import Query, Standing, standing_of
from towers.retrieval.search import recommend

CONTENTS, HEARD = 60, (3, 7, 7, 7, 11, 3)


def log_odds(intercept: float, **weights: float) -> LogOdds:
    return LogOdds(intercept=intercept, weights=np.array([weights.get(name, 0.0) for name in FEATURES]))


MODEL = ListenChance(
    heard=log_odds(-1.0, count=2.0), new=log_odds(-4.0, affinity=3.0, artist=0.5, popularity=0.25),
    window={"days": 14.0}, fitted={"listeners": 3},
)  # fmt: skip


class Known(Export):
    """An export with the model, facts of its contents, and a listener; its own files are of format 1."""

    listen_chance = MODEL
    facts: ContentFacts


def known(folder: Path, num_contents: int = CONTENTS, index: IvfSettings | None = None) -> Known:
    contents = [content(f"t{row}", artist_ids=[f"a{row % 5}"]) for row in range(num_contents)]
    vectors = clustered(num_contents)
    chosen = {"ann": list(HEARD), "new": []}
    made = small_export(folder / "export", contents, vectors, chosen, **({} if index is None else {"index": index}))
    export = Known(made.folder)
    recent = np.random.default_rng(0).integers(0, 20, num_contents)
    export.facts = ContentFacts(artists=artist_codes(made.contents["artist_ids"]), recent_positives=recent)
    return export


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return known(tmp_path_factory.mktemp("chance"))


def expected_chance(export: Known, row: int, affinity: float) -> float:
    if row in HEARD:
        odds = -1 + 2 * math.log1p(HEARD.count(row))
    else:
        artist = sum(one % 5 == row % 5 for one in HEARD)
        odds = -4 + 3 * affinity + math.log1p(artist) / 2 + math.log1p(export.facts.recent_positives[row]) / 4
    return 1 / (1 + math.exp(-odds))


def test_what_is_known_and_what_is_new_have_coefficients_of_their_own(export: Known) -> None:
    standing = standing_of(export, 0)
    found = recommend(export, export.user_vectors[0], Query(k=CONTENTS, include_heard=True), standing)
    assert sorted(found.rows.tolist()) == list(range(CONTENTS))
    assert found.chances is not None
    expected = [expected_chance(export, row, score) for row, score in zip(found.rows, found.scores, strict=True)]
    np.testing.assert_allclose(found.chances, expected, rtol=1e-6)
    assert (np.diff(found.chances) <= 0).all()
    np.testing.assert_allclose(found.scores, export.vectors[found.rows] @ export.user_vectors[0], rtol=1e-6)


def test_what_is_new_alone_comes_by_affinity(export: Known) -> None:
    found = recommend(export, export.user_vectors[0], Query(k=5), standing_of(export, 0))
    assert found.chances is None
    assert (np.diff(found.scores) <= 0).all()


@given(k=st.integers(1, 70), familiar=st.floats(0, 1))
def test_the_share_of_what_was_heard_is_what_was_asked_for(export: Known, k: int, familiar: float) -> None:
    """Both sides have enough contents; otherwise the other side fills the list, except at 0 and at 1."""
    found = recommend(export, export.user_vectors[0], Query(k=k, familiar=familiar), standing_of(export, 0))
    heard, asked = sum(row in HEARD for row in found.rows.tolist()), int(familiar * k + 0.5)
    num_heard = len({*HEARD})
    if familiar in (0, 1):
        only = min(k, num_heard if familiar else CONTENTS - num_heard)
        assert (heard, len(found.rows)) == (only if familiar else 0, only)
        return
    assert len(found.rows) == min(k, CONTENTS)
    if asked <= num_heard and k - asked <= CONTENTS - num_heard:
        assert heard == asked
    assert found.chances is not None
    assert (np.diff(found.chances) <= 0).all()


def test_each_side_has_its_likeliest(export: Known) -> None:
    standing, vector = standing_of(export, 0), export.user_vectors[0]
    whole = recommend(export, vector, Query(k=CONTENTS, include_heard=True), standing).rows.tolist()
    for familiar in (0.0, 0.2, 0.5):
        found = recommend(export, vector, Query(k=4, familiar=familiar), standing).rows.tolist()
        num_heard = int(4 * familiar + 0.5)
        heard, new = ([row for row in whole if (row in HEARD) == is_heard] for is_heard in (True, False))
        assert found == sorted(heard[:num_heard] + new[: 4 - num_heard], key=whole.index)


def test_somebody_without_a_history(export: Known) -> None:
    found = recommend(export, export.user_vectors[1], Query(k=4, familiar=0.5), standing_of(export, 1))
    assert len(found.rows) == 4


@pytest.mark.slow
def test_a_large_catalogue_is_looked_at_near_the_listener(tmp_path: Path) -> None:
    """All heard contents are candidates, wherever they lie."""
    export = known(tmp_path, 21_000, IvfSettings(min_contents=1_000, num_lists=64, num_probes=64))
    standing, vector = standing_of(export, 0), export.user_vectors[0]
    found = recommend(export, vector, Query(k=100, familiar=0.03), standing)
    heard = [row for row in found.rows.tolist() if row in HEARD]
    assert {*heard} == {*HEARD}
    new = np.array([row for row in found.rows.tolist() if row not in HEARD])
    affinity = export.vectors @ vector
    assert (affinity[new] >= np.sort(affinity)[-1_100]).all()


def test_without_the_model(tmp_path: Path) -> None:
    plain = Export(known(tmp_path).folder)
    standing, vector = standing_of(plain, 0), plain.user_vectors[0]
    with pytest.raises(UserError, match=r"familiar=0.5: version export has no model .* is older than 3; export again"):
        recommend(plain, vector, Query(familiar=0.5), standing)
    found = recommend(plain, vector, Query(k=5, include_heard=True), standing)
    assert found.chances is None
    assert (np.diff(found.scores) <= 0).all()


def test_a_vector_has_heard_nothing(export: Known) -> None:
    with pytest.raises(UserError, match=r"familiar=1: a vector has no listening history; give user or history"):
        recommend(export, export.user_vectors[0], Query(familiar=1), None)


@pytest.mark.parametrize("familiar", [-0.1, 1.1, float("nan")])
def test_a_share_lies_between_0_and_1(familiar: float) -> None:
    with pytest.raises(UserError, match="must be a share"):
        Query(familiar=familiar)


def test_the_standing_moves_to_another_version(export: Known) -> None:
    """Contents 3 and 11 are rows 0 and 1 of the other version, which lacks 7."""
    row_of = np.full(CONTENTS, -1)
    row_of[[3, 11]] = 0, 1
    moved = standing_of(export, 0).moved(row_of)
    assert moved.events.content_row.tolist() == [0, -1, -1, -1, 1, 0]
    assert moved.events.chosen_rows.tolist() == [0, 1, 0]


def test_ids_without_times_are_counted_back_from_their_end(export: Known) -> None:
    events = export.plays(np.array([3, 7]))
    found = recommend(export, export.user_vectors[0], Query(k=2, familiar=1), Standing.of(events, None))
    assert sorted(found.rows.tolist()) == [3, 7]


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "listen_chance.json"
    replace(MODEL, new=replace(MODEL.new, curve=(0.5, 0.75, -0.125))).write(path, "here")
    read = ListenChance.read(path, "here")
    np.testing.assert_array_equal(read.heard.weights, MODEL.heard.weights)
    np.testing.assert_array_equal(read.new.weights, MODEL.new.weights)
    assert read.new.curve == (0.5, 0.75, -0.125)
    assert (read.heard.intercept, read.new.intercept) == (-1.0, -4.0)
    assert (read.window, read.fitted) == (MODEL.window, MODEL.fitted)


@given(st.floats(-3, 3), st.floats(0.1, 2), st.floats(-0.3, 0.3))
def test_the_curve_keeps_the_order(constant: float, slope: float, bend: float) -> None:
    sums = np.linspace(-12, 4, 50)
    features = np.zeros((50, len(FEATURES)))
    features[:, FEATURES.index("affinity")] = sums
    plain = log_odds(0.0, affinity=1.0)
    np.testing.assert_allclose(plain(features), sums)
    found = replace(plain, curve=(constant, slope, bend))(features)
    assert (np.diff(found) >= -1e-9).all()
    inside = slope + 2 * bend * sums > 0
    np.testing.assert_allclose(found[inside], (constant + slope * sums + bend * sums**2)[inside], atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measures": {"decays": [1]}}, "fitted to features that this version does not have"),
        ({"new": {"intercept": 0}}, "'weights' is missing"),
        ({"space_id": "there"}, "space_id there is not the export's here"),
    ],
)
def test_another_model_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "listen_chance.json"
    MODEL.write(path, "here")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        ListenChance.read(path, "here")


def test_features_of_a_pair() -> None:
    """The features stand in the order of `FEATURES`: 2 positive events with the content's artist, 5 recent ones of all
    listeners.
    """
    artists = artist_codes(pa.chunked_array([pa.array([["a"], ["a"]], pa.list_(pa.string()))]))
    facts = ContentFacts(artists=artists, recent_positives=np.array([0, 5]))
    met = Familiarity.of(
        content_row=np.array([0, 0]), action=np.full(2, schema.PLAY), age=np.ones(2), is_positive=np.ones(2, bool)
    )
    features, is_chosen = pair_features(met, np.array([0, 0]), facts, np.array([1]), np.array([0.5]))
    assert not is_chosen.any()
    np.testing.assert_allclose(features, [[0, 0, 0, 0, 0, 0, 0.5, 0.25, math.log(3), math.log(6)]])
    assert chance(np.zeros(1)).tolist() == [0.5]
