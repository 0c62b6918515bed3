"""The likeness of two listeners' matches."""

from pathlib import Path

import numpy as np
import pytest

from tests.retrieval.small_export import content, small_export
from towers.features.ragged import Ragged
from towers.policies.match import WEIGHTS, Matches, likeness
from towers.retrieval.styles import Styles

ROWS = 12


@pytest.fixture(scope="module")
def matches(tmp_path_factory) -> Matches:
    """Thirty listeners of twelve contents in three styles."""
    random = np.random.default_rng(0)
    vectors = np.linalg.qr(random.normal(size=(16, 16)))[0][:ROWS].astype(np.float32)
    chosen = {f"u{user}": random.choice(ROWS, 5, p=random.dirichlet(np.ones(ROWS))).tolist() for user in range(30)}
    folder: Path = tmp_path_factory.mktemp("taste") / "export"
    export = small_export(folder, [content(f"c{row}") for row in range(ROWS)], vectors, chosen)
    styles = Styles(
        names=("a", "b", "c"),
        codes=Ragged.from_lists([[row % 3] for row in range(ROWS)]),
        shares=np.ones(ROWS, np.float32),
        is_given=np.ones(ROWS, bool),
    )
    return Matches(export, styles)


def test_likeness_is_a_weighted_mean_of_cosines(matches):
    one = matches.of(np.array([0, 0, 0, 0, 1]), np.eye(16)[0])
    other = matches.of(np.array([0, 3]), np.eye(16)[0])
    # Of contents, sqrt(4/5 x 1/2); of styles, the other has the first alone; the vectors are the same.
    contents, styles = np.sqrt(0.4), np.sqrt(0.8)
    expected = WEIGHTS["contents"] * contents + WEIGHTS["styles"] * styles + WEIGHTS["vector"]
    assert likeness(one, other) == pytest.approx(expected)
    assert sum(WEIGHTS.values()) == pytest.approx(1)


def test_nobody_is_more_alike_than_to_oneself(matches):
    one = matches.of(np.array([0, 4, 4, 7]), np.ones(16))
    assert matches.match(one, one) == 100
    assert likeness(one, one) == pytest.approx(1)


def test_it_does_not_matter_who_asks(matches):
    export = matches._export
    some = [matches.of(export.chosen(user), export.user_vectors[user]) for user in range(8)]
    assert all(matches.match(one, other) == matches.match(other, one) for one in some for other in some)


def test_random_pairs_spread_over_the_range(matches):
    export = matches._export
    some = [matches.of(export.chosen(user), export.user_vectors[user]) for user in range(30)]
    found = [matches.match(one, other) for place, one in enumerate(some) for other in some[:place]]
    assert np.quantile(found, [0.25, 0.5, 0.75]) == pytest.approx([25, 50, 75], abs=12)
    assert min(found) >= 0
    assert max(found) <= 100


def test_a_match_rises_with_likeness(matches):
    export = matches._export
    some = [matches.of(export.chosen(user), export.user_vectors[user]) for user in range(12)]
    pairs = sorted((likeness(one, other), matches.match(one, other)) for one in some for other in some)
    assert [match for _, match in pairs] == sorted(match for _, match in pairs)


def test_what_nobody_knows_does_not_count(matches):
    """A listener without contents has a vector alone, and no match; where styles are not known, the rest counts."""
    new = matches.of(np.zeros(0, np.int64), np.eye(16)[0])
    known = matches.of(np.array([1]), np.eye(16)[0])
    assert likeness(new, known) == pytest.approx(1)
    assert matches.mean_match([new, known]) is None
    plain = Matches(matches._export)
    one, other = (plain.of(np.array(rows), np.eye(16)[0]) for rows in ([1, 2], [1, 3]))
    assert likeness(one, other) == pytest.approx((0.7 * 0.5 + 0.1) / 0.8)


def test_an_export_without_listeners_has_a_plain_scale(tmp_path):
    export = small_export(tmp_path / "export", [content("a"), content("b")], np.eye(2, 4, dtype=np.float32))
    plain = Matches(export)
    one, other = plain.of(np.array([0]), np.zeros(4)), plain.of(np.array([0, 1]), np.zeros(4))
    assert plain.match(one, other) == pytest.approx(100 * np.sqrt(0.5))
