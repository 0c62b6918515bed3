from dataclasses import replace
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contracts.ranker import make_task
from towers.contract.schema import KINDS, PLAYABLE_KINDS
from towers.evaluation.harness import evaluate
from towers.evaluation.ranking.rankers import DenseRanker
from towers.evaluation.slices import popularity_thirds
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged

KS = (1, 2, 5)


class Fixed:
    """A scorer whose scores are given."""

    name = "fixed"

    def __init__(self, scores):
        self.given = np.asarray(scores, dtype=np.float32)

    def scores(self, positions):
        return self.given[positions]


def fixed(task, scores, block_size=None) -> DenseRanker:
    return DenseRanker(task, Fixed(scores), block_size=block_size)


# The slow twin: one listener, one slice, one list at a time.


def slow_thirds(task) -> dict[str, set[int]]:
    rows = [
        row
        for row in range(task.num_contents)
        if task.is_candidate[row] and not task.is_cold[row] and task.train_counts[row] > 0
    ]
    rows.sort(key=lambda row: (-task.train_counts[row], row))
    total = sum(int(task.train_counts[row]) for row in rows)
    thirds, before = {"head": set(), "middle": set(), "tail": set()}, 0
    for row in rows:
        name = "head" if 3 * before < total else "middle" if 3 * before < 2 * total else "tail"
        thirds[name].add(row)
        before += int(task.train_counts[row])
    return thirds


def slow_slices(task, position: int, *, filter_seen: bool) -> dict[str, tuple[set[int], set[int]]]:
    """Returns the targets and the ranked contents of each slice."""
    candidates = set(np.flatnonzero(task.is_candidate).tolist())
    heard = set(task.histories[position].tolist())
    targets = set(task.targets[position].tolist()) & candidates
    cold = set(np.flatnonzero(task.is_cold).tolist())
    unseen = candidates - heard
    new = targets - heard
    slices = {
        "all": (targets, unseen if filter_seen else candidates),
        "discovery": (new, unseen),
        "cold_content": (new & cold, unseen),
        "cold_among_cold": (new & cold, unseen & cold),
        "cold_users": (new if task.is_cold_user[position] else set(), unseen),
    }
    if not filter_seen:
        slices["familiar"] = (targets & heard, candidates)
    for name, rows in slow_thirds(task).items():
        slices[name] = (new & rows, unseen)
    for kind in PLAYABLE_KINDS:
        slices[kind] = ({row for row in new if KINDS[task.kind_codes[row]] == kind}, unseen)
    return slices


def slow_metrics(targets: set[int], ranked: list[int]) -> dict[str, float]:
    values = {}
    for k in KS:
        ranks = [rank for rank, row in enumerate(ranked[:k], start=1) if row in targets]
        best = min(k, len(targets))
        values[f"recall@{k}"] = len(ranks) / best
        ideal = sum(1 / log2(rank + 1) for rank in range(1, best + 1))
        values[f"ndcg@{k}"] = sum(1 / log2(rank + 1) for rank in ranks) / ideal
        values[f"mrr@{k}"] = 1 / ranks[0] if ranks else 0
        values[f"hit_rate@{k}"] = float(bool(ranks))
        values[f"precision@{k}"] = len(ranks) / k
        values[f"map@{k}"] = sum(hit / rank for hit, rank in enumerate(ranks, start=1)) / best
    return values


def slow_evaluate(task, scores, *, filter_seen: bool) -> dict[str, dict[int, dict[str, float]]]:
    """Returns every metric by slice and listener."""
    results: dict[str, dict[int, dict[str, float]]] = {}
    for position in range(len(task.user_rows)):
        for name, (targets, allowed) in slow_slices(task, position, filter_seen=filter_seen).items():
            of_slice = results.setdefault(name, {})
            if targets:
                ranked = [row for row in allowed if scores[position, row] > -np.inf]
                ranked.sort(key=lambda row: (-scores[position, row], row))
                of_slice[position] = slow_metrics(targets, ranked)
    kinds = [kind for kind in PLAYABLE_KINDS if results.get(kind)]
    for kind in PLAYABLE_KINDS:
        if kind in results and (kind not in kinds or len(kinds) < 2):
            del results[kind]
    return results


@st.composite
def cases(draw):
    """Draws plain lists: the annotation checks at run time draw random numbers, which strategies must not."""
    num_users, num_contents = draw(st.integers(1, 5)), draw(st.integers(1, 9))
    row = st.integers(0, num_contents - 1)

    def per_user(elements):
        return draw(st.lists(elements, min_size=num_users, max_size=num_users))

    def per_content(elements):
        return draw(st.lists(elements, min_size=num_contents, max_size=num_contents))

    level = st.sampled_from([-np.inf, -1.5, 0.0, 0.0, 1.0, 2.0])
    return {
        "user_rows": draw(st.permutations(range(50, 50 + num_users))),
        "histories": per_user(st.lists(row, max_size=6)),
        "targets": per_user(st.lists(row, min_size=1, unique=True)),
        "is_candidate": per_content(st.sampled_from([True, True, True, False])),
        "is_cold": per_content(st.booleans()),
        "train_counts": per_content(st.integers(0, 5)),
        "kind_codes": per_content(st.integers(0, len(KINDS) - 1)),
        "is_cold_user": per_user(st.booleans()),
        "scores": [per_content(level) for _ in range(num_users)],
    }


def built(case) -> tuple[EvaluationTask, np.ndarray]:
    arrays = {name: np.array(values) for name, values in case.items() if name not in ("histories", "targets")}
    scores = arrays.pop("scores").astype(np.float32)
    histories, targets = Ragged.from_lists(case["histories"]), Ragged.from_lists(case["targets"])
    return EvaluationTask(histories=histories, targets=targets, **arrays), scores


@settings(max_examples=50, deadline=None)
@given(case=cases(), filter_seen=st.booleans(), block_size=st.integers(1, 6))
def test_equals_the_slow_reference(case, filter_seen, block_size):
    task, scores = built(case)
    found = evaluate(task, fixed(task, scores, block_size), ks=KS, filter_seen=filter_seen)
    expected = slow_evaluate(task, scores, filter_seen=filter_seen)
    assert set(found.slices) == set(expected)
    for name, of_slice in expected.items():
        result = found.slices[name]
        assert result.positions.tolist() == list(of_slice)
        for key, values in result.values.items():
            np.testing.assert_allclose(values, [of_slice[position][key] for position in of_slice])


@settings(max_examples=50, deadline=None)
@given(case=cases(), data=st.data())
def test_the_order_of_listeners_does_not_matter(case, data):
    task, scores = built(case)
    order = np.array(data.draw(st.permutations(range(len(task.user_rows)))))
    permuted = replace(
        task,
        user_rows=task.user_rows[order],
        histories=task.histories.take(order),
        targets=task.targets.take(order),
        is_cold_user=task.is_cold_user[order],
    )
    first = evaluate(task, fixed(task, scores), ks=KS, filter_seen=False, min_users=1)
    second = evaluate(permuted, fixed(permuted, scores[order]), ks=KS, filter_seen=False, min_users=1)
    assert first.counts == second.counts
    assert first.means() == pytest.approx(second.means())


def test_familiar_and_discovery_on_one_listener():
    # Heard 0 and 1; plays 1 again and 3 for the first time. Ranked 0 1 2 3, without what was heard 2 3.
    task = make_task([[0, 1]], [[1, 3]], 4)
    means = evaluate(task, fixed(task, [[4, 3, 2, 1]]), ks=(2,), filter_seen=False, min_users=1).means()
    assert means["recall@2"] == 1 / 2
    assert means["mrr@2"] == 1 / 2
    assert means["recall@2/familiar"] == 1 / 1
    assert means["recall@2/discovery"] == 1 / 1
    assert means["mrr@2/discovery"] == 1 / 2


def test_filter_seen_leaves_out_what_was_heard():
    task = make_task([[0, 1]], [[1, 3]], 4)
    found = evaluate(task, fixed(task, [[4, 3, 2, 1]]), ks=(2,), filter_seen=True, min_users=1)
    assert "familiar" not in found.slices
    assert found.means()["recall@2"] == 1 / 2
    assert found.means()["ndcg@2"] == pytest.approx((1 / log2(3)) / (1 + 1 / log2(3)))


def test_cold_targets_among_all_and_among_cold():
    # Content 3 is cold and last of four, but first of the two cold ones.
    task = make_task([[]], [[3]], 5, cold=(3, 4))
    means = evaluate(task, fixed(task, [[5, 4, 3, 2, 1]]), ks=(1, 4), filter_seen=False, min_users=1).means()
    assert means["mrr@4/cold_content"] == 1 / 4
    assert means["mrr@1/cold_among_cold"] == 1 / 1


def test_head_middle_and_tail_carry_a_third_of_the_plays_each():
    # 12 plays: 4 | 2 + 2 | 1 + 1 + 1 + 1, and two contents without plays.
    task = make_task([[]], [[0]], 9, train_counts=[1, 2, 4, 0, 2, 1, 1, 1, 0], cold=(8,))
    thirds = {name: np.flatnonzero(rows).tolist() for name, rows in popularity_thirds(task).items()}
    assert thirds == {"head": [2], "middle": [1, 4], "tail": [0, 5, 6, 7]}


def test_thirds_of_a_catalogue_without_a_play_are_empty():
    thirds = popularity_thirds(make_task([[]], [[0]], 3))
    assert not any(rows.any() for rows in thirds.values())


def test_constant_scores_rank_by_row():
    task = make_task([[]] * 2, [[0], [3]], 4)
    found = evaluate(task, fixed(task, np.zeros((2, 4))), ks=(1, 4), filter_seen=False)
    np.testing.assert_allclose(found.slices["all"].values["mrr@4"], [1, 1 / 4])


def test_a_small_slice_has_a_count_and_no_figure():
    task = make_task([[0]] * 3, [[0], [0], [1]], 2)
    found = evaluate(task, fixed(task, np.zeros((3, 2))), filter_seen=False, min_users=2)
    assert found.counts["familiar"] == 2
    assert found.counts["discovery"] == 1
    assert found.counts["cold_users"] == 0
    assert "recall@10/familiar" in found.means()
    assert "recall@10/discovery" not in found.means()
    assert "recall@10/cold_users" not in found.means()


def test_nobody_to_evaluate():
    task = make_task([], [], 3)
    found = evaluate(task, fixed(task, np.zeros((0, 3))), filter_seen=False)
    assert found.means() == {}
    assert found.counts["all"] == 0


def test_the_rankers_own_array_is_left_alone():
    task, scorer = make_task([[0]], [[1]], 3), Fixed([[1, 2, 3]])
    scorer.scores = lambda positions: scorer.given
    evaluate(task, DenseRanker(task, scorer), filter_seen=True)
    assert scorer.given.tolist() == [[1, 2, 3]]


def test_scores_that_are_not_a_number_are_refused_by_name():
    task = make_task([[0]], [[1]], 2)
    with pytest.raises(ValueError, match=r"'fixed'.*not a number"):
        evaluate(task, fixed(task, [[np.nan, 1]]), filter_seen=False)


def test_scores_of_the_wrong_shape_are_refused_by_name():
    task = make_task([[0]], [[1]], 2)
    with pytest.raises(ValueError, match=r"'fixed'.*\(1, 3\).*\(1, 2\)"):
        evaluate(task, fixed(task, [[1, 2, 3]]), filter_seen=False)


@pytest.mark.parametrize("wrong", [{"ks": ()}, {"ks": (0, 10)}, {"min_users": 0}])
def test_refuses_what_has_no_meaning(wrong):
    task = make_task([[0]], [[1]], 2)
    with pytest.raises(ValueError, match="at least 1"):
        evaluate(task, fixed(task, [[1, 2]]), filter_seen=False, **wrong)
