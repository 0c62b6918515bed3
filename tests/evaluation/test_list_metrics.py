from dataclasses import replace
from math import log, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.contracts.ranker import make_task
from towers.contract.schema import KIND_CODES
from towers.evaluation.attributes import content_attributes, merged_attributes
from towers.evaluation.calibration import Calibration
from towers.evaluation.diversity import intra_list_diversity
from towers.evaluation.harness import ListJudge, evaluate
from towers.evaluation.list_metrics import ListMetrics, gini
from towers.evaluation.ranking.vectors import VectorRanker
from towers.features.ragged import Ragged

# Training: content 0 was played by all four listeners, 1 by two of them (one of them twice), 2 by one, 3 by none.
TRAIN = Ragged.from_lists([[0, 1, 1], [0, 1], [0, 2], [0], []])
# Genres 7, 8, 9: content 0 is both 7 and 8, contents 1 and 2 have one each, of content 3 nothing is known.
GENRES = Ragged.from_lists([[7, 8], [7], [9], []])
ARTISTS = Ragged.from_lists([[7], [7], [7], []])
NOBODY = np.zeros((1, 3), dtype=bool)


def judge(histories=([0, 1, 1], []), targets=([3], [0, 2]), **changes) -> ListMetrics:
    task = make_task(list(histories), list(targets), 4, train_counts=[4, 3, 1, 0])
    return ListMetrics(replace(task, **changes), TRAIN, {"genres": GENRES, "artists": ARTISTS}, k=3)


def figures(rows, hits=NOBODY, position=0, **given_task) -> dict[str, float]:
    found = judge(**given_task).per_listener(np.array([position]), np.array([rows]), np.asarray(hits))
    return {key.removesuffix("@3"): float(values[0]) for key, values in found.items()}


def test_is_a_judge_of_the_harness():
    assert isinstance(judge(), ListJudge)
    assert judge().k == 3


def test_novelty_is_the_mean_self_information():
    # Of four listeners with a play, four, two and one played contents 0, 1 and 2.
    assert figures([0, 1, 2])["novelty"] == pytest.approx((log2(4 / 4) + log2(4 / 2) + log2(4 / 1)) / 3)


def test_what_nobody_played_is_as_novel_as_what_one_listener_did():
    assert figures([3, -1, -1])["novelty"] == figures([2, -1, -1])["novelty"] == log2(4)


def test_popularity_is_the_mean_of_training_plays():
    assert figures([0, 1, 3])["popularity"] == pytest.approx((4 + 3 + 0) / 3)


def test_a_short_list_is_judged_as_it_is():
    assert figures([0, 1, -1])["popularity"] == pytest.approx((4 + 3) / 2)


def test_popularity_lift_compares_with_the_history_and_its_repeats():
    # The listener played contents 0, 1, 1: (4 + 3 + 3) / 3 training plays.
    assert figures([2, -1, -1])["popularity_lift"] == pytest.approx((1 - 10 / 3) / (10 / 3))


def test_a_list_like_the_history_has_no_lift():
    assert figures([0, -1, -1], histories=([0, 0], []))["popularity_lift"] == 0


def test_a_history_without_a_training_play_has_no_lift():
    assert np.isnan(figures([0, 1, 2], histories=([3], []))["popularity_lift"])


def test_serendipity_is_what_the_rank_says_more_than_popularity():
    # Ranks by plays: content 0 first, 1 second, 2 third of four candidates; content 3 has no play.
    hits = [[True, True, True]]
    first, second, third = 4 / 4 - 2 / 4, 3 / 4 - 0, 0
    assert figures([2, 3, 0], hits)["serendipity"] == pytest.approx((first + second + third) / 3)


def test_serendipity_counts_hits_alone():
    assert figures([2, 3, 0], [[False, True, True]])["serendipity"] == pytest.approx((3 / 4) / 3)


def test_equal_plays_share_a_rank_by_popularity():
    hits = [[True, False, False]]
    tied = figures([2, 1, 0], hits, train_counts=np.array([9, 5, 5, 0]))
    assert tied["serendipity"] == pytest.approx((4 / 4 - 3 / 4) / 3)


def test_diversity_is_the_mean_distance_of_pairs():
    # Tags: content 0 has genres 7 and 8 and artist 7; 1 has genre 7 and artist 7; 2 has genre 9 and artist 7.
    assert figures([0, 1, 2])["diversity"] == pytest.approx(((1 - 2 / 3) + (1 - 1 / 4) + (1 - 1 / 3)) / 3)


def test_pairs_of_which_nothing_is_known_are_left_out_of_diversity():
    assert figures([0, 3, 2])["diversity"] == pytest.approx(1 - 1 / 4)


@pytest.mark.parametrize("rows", [[0, -1, -1], [0, 3, -1], [3, -1, -1]])
def test_without_a_pair_there_is_no_diversity(rows):
    assert np.isnan(figures(rows)["diversity"])


def test_a_list_in_the_listeners_own_shares_is_calibrated():
    assert figures([1, 0, 1])["calibration_genre"] == pytest.approx(0, abs=1e-15)


def test_calibration_of_genres():
    # Played 0, 1, 1: genre 7 has (1/2 + 1 + 1) / 3, genre 8 (1/2) / 3. The list holds 7 and 9 alike.
    seven, eight = 5 / 6, 1 / 6
    expected = seven * log(seven / (0.99 * 1 / 2 + 0.01 * seven)) + eight * log(eight / (0.01 * eight))
    assert figures([1, 2, -1])["calibration_genre"] == pytest.approx(expected)


def test_contents_without_a_genre_do_not_count_in_calibration():
    assert figures([1, 2, 3])["calibration_genre"] == figures([1, 2, -1])["calibration_genre"]


def test_a_list_without_a_genre_has_no_calibration_of_genres():
    assert np.isnan(figures([3, -1, -1])["calibration_genre"])


def test_calibration_of_kinds():
    kinds = np.array([KIND_CODES[kind] for kind in ("track", "episode", "track", "track")])
    # Played one track and two episodes; the list holds tracks alone.
    expected = 1 / 3 * log((1 / 3) / (0.99 + 0.01 / 3)) + 2 / 3 * log(1 / 0.01)
    assert figures([0, 2, 3], kind_codes=kinds)["calibration_kind"] == pytest.approx(expected)


def test_calibration_of_popularity_has_a_class_for_what_was_not_played():
    # Of eight plays content 0 opens the first third and content 1, after four of them, the second; 2 the last.
    expected = 1 / 3 * log(1 / 0.01) + 2 / 3 * log((2 / 3) / (0.99 / 2 + 0.01 * 2 / 3))
    assert figures([1, 3, -1])["calibration_popularity"] == pytest.approx(expected)


def test_what_is_no_candidate_counts_in_no_history():
    candidates = np.array([True, False, True, True])
    found = figures([2, -1, -1], is_candidate=candidates)
    assert found["popularity_lift"] == pytest.approx((1 - 4) / 4)
    assert found["calibration_kind"] == pytest.approx(0, abs=1e-15)
    assert found["calibration_genre"] == pytest.approx(log(1 / 0.01))


def test_without_a_history_what_needs_one_is_not_defined():
    found = figures([0, 1, 2], position=1)
    missing = {key for key, value in found.items() if np.isnan(value)}
    assert missing == {"popularity_lift", "calibration_genre", "calibration_kind", "calibration_popularity"}


@pytest.mark.parametrize("ranks", [0, 3])
def test_an_empty_list_has_no_figure(ranks):
    rows, hits = np.full((1, ranks), -1), np.zeros((1, ranks), dtype=bool)
    assert all(np.isnan(values).all() for values in judge().per_listener(np.array([0]), rows, hits).values())


def test_nobody():
    found = judge().per_listener(np.arange(0), np.zeros((0, 3), dtype=int), NOBODY[:0])
    assert all(values.shape == (0,) for values in found.values())


def test_without_genres_nothing_is_said_of_them():
    task = make_task([[0]], [[1]], 2)
    found = ListMetrics(task, task.histories, {}).per_listener(np.array([0]), np.array([[1]]), np.array([[True]]))
    assert "calibration_genre@20" not in found
    assert "calibration_kind@20" in found


def test_of_all_lists_together():
    # Chosen: contents 3, 0 and 2, with 0, 4 and 1 training plays.
    assert judge().catalogue(np.array([3, 0, 1, 0])) == pytest.approx(
        {
            "coverage@3": 2 / 4,
            "gini@3": (-3 * 0 - 1 * 0 + 1 * 1 + 3 * 3) / (4 * 4),
            "popularity_bias@3": ((3 * 4 + 1 * 1) / 4) / ((0 + 4 + 1) / 3),
        }
    )


def test_coverage_is_of_candidates():
    candidates = np.array([True, False, True, True])
    assert judge(is_candidate=candidates).catalogue(np.array([1, 0, 1, 0]))["coverage@3"] == pytest.approx(2 / 3)


def test_nothing_shown_nothing_said():
    assert judge().catalogue(np.zeros(4, dtype=int)) == {}


def test_no_bias_towards_choices_that_were_never_played():
    assert "popularity_bias@3" not in judge(targets=([3], [3])).catalogue(np.array([1, 1, 1, 1]))


@given(amounts=arrays(int, st.integers(1, 8), elements=st.integers(0, 9)))
def test_gini_is_half_the_mean_difference_over_the_mean(amounts):
    amounts[0] += 1
    difference = np.abs(amounts[:, None] - amounts[None, :]).mean()
    assert gini(amounts) == pytest.approx(difference / 2 / amounts.mean())


@given(data=st.data(), contents=st.integers(1, 6), ranks=st.integers(0, 5))
def test_diversity_equals_that_of_sets(data, contents, ranks):
    tags = [sorted(data.draw(st.sets(st.integers(0, 5), max_size=3))) for _ in range(contents)]
    rows = data.draw(arrays(int, (3, ranks), elements=st.integers(-1, contents - 1)))
    found = intra_list_diversity(Ragged.from_lists(tags), rows)
    for listed, figure in zip(rows, found, strict=True):
        known = [set(tags[row]) for row in listed if row >= 0 and tags[row]]
        pairs = [(one, other) for at, one in enumerate(known) for other in known[:at]]
        distances = [1 - len(one & other) / len(one | other) for one, other in pairs]
        assert figure == pytest.approx(np.mean(distances) if distances else np.nan, nan_ok=True)


@given(data=st.data(), contents=st.integers(1, 5), ranks=st.integers(0, 4))
def test_divergence_equals_the_sum_over_classes(data, contents, ranks):
    classes = [sorted(data.draw(st.sets(st.integers(0, 3), max_size=2))) for _ in range(contents)]
    history = data.draw(st.lists(st.integers(0, contents - 1), max_size=5))
    rows = data.draw(arrays(int, (1, ranks), elements=st.integers(-1, contents - 1)))
    calibration = Calibration(Ragged.from_lists([history]), Ragged.from_lists(classes), alpha=0.1)
    found = calibration.divergence(np.array([0]), rows)[0]
    played, listed = (slow_shares(contents, classes) for contents in (history, [row for row in rows[0] if row >= 0]))
    if played is None or listed is None:
        assert np.isnan(found)
    else:
        mixed = 0.9 * listed + 0.1 * played
        terms = [p * log(p / q) for p, q in zip(played, mixed, strict=True) if p > 0]
        assert found == pytest.approx(sum(terms), abs=1e-12)
        assert -1e-12 <= found <= log(1 / 0.1) + 1e-12


def slow_shares(contents, classes) -> np.ndarray | None:
    shares = np.zeros(4)
    for row in contents:
        for code in classes[row]:
            shares[code] += 1 / len(classes[row])
    return shares / shares.sum() if shares.any() else None


def test_values_of_different_attributes_differ():
    merged = merged_attributes({"genres": GENRES, "artists": ARTISTS}, 4)
    assert [merged[row].tolist() for row in range(4)] == [[7, 8, 17], [7, 17], [9, 17], []]


def test_attributes_of_a_store_hold_what_training_has_not_seen(store):
    """The genre of a4, first played in validation, differs from that of a1; a2 shares one of its two with a1."""
    row_of = {content_id: row for row, content_id in enumerate(store.content_ids.tolist())}
    attributes = content_attributes(store)
    first, second, cold, unknown = (set(attributes["genres"][row_of[row]].tolist()) for row in ("a1", "a2", "a4", "e1"))
    assert first < second
    assert len(second) == 2
    assert len(cold) == 1
    assert not cold & second
    assert not unknown
    assert attributes["artists"].lengths[[row_of["a1"], row_of["a2"], row_of["a4"]]].tolist() == [1, 2, 0]


def test_judges_in_the_harness():
    vectors = np.eye(4, dtype=np.float32)
    task = make_task([[0, 1, 1], []], [[2], [0]], 4, train_counts=[4, 3, 1, 0])
    metrics = ListMetrics(task, TRAIN, {"genres": GENRES, "artists": ARTISTS}, k=3)
    ranker = VectorRanker(task, "vectors", np.array([[4, 3, 2, 1], [1, 2, 3, 4]], dtype=np.float32), vectors)
    means = evaluate(task, ranker, filter_seen=False, min_users=1, ks=(1,), list_judge=metrics).means()
    # Lists 0, 1, 2 and 3, 2, 1; new to the listeners are 2, 3 and 3, 2, 1.
    assert means["popularity@3"] == pytest.approx(((4 + 3 + 1) / 3 + (0 + 1 + 3) / 3) / 2)
    assert means["popularity@3/discovery"] == pytest.approx(((1 + 0) / 2 + (0 + 1 + 3) / 3) / 2)
    assert means["coverage@3"] == 4 / 4
    assert means["coverage@3/discovery"] == 3 / 4
