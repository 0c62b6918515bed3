"""Checks of an evaluation's validity; each returns a `Check` with its measurements.

They know no model: they take a `Ranker`, vectors, or evaluations. `future` checks for leaks from the future.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, Int
from rich.table import Table
from rich.text import Text

from towers.errors import GateRefused
from towers.evaluation.harness import LIST_LENGTH, evaluate
from towers.evaluation.intervals import paired_differences
from towers.evaluation.ranking.rankers import Ranked, Ranker, Ranking
from towers.evaluation.result import Evaluation, split_key
from towers.evaluation.slices import pair_keys
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged

LARGEST_Z: Final = 4.0
"""Largest accepted distance from the expectation in standard errors; 6 in 100,000 valid results exceed it."""
FEWEST_HITS: Final = 10.0
"""Number of expected or found hits below which hits are too rare for a z-test."""
KEPT_LIFT: Final = 0.5
CLEAR_Z: Final = 3.09
"""One-sided normal quantile of 99.9 %."""
INTERVAL_Z: Final = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Result of a check.

    Args:
        name: name of the check.
        passed: verdict; null if the check only reports, or has too little data.
        detail: one line for the user, with the measurements.
        figures: measurements by name.
    """

    name: str
    passed: bool | None
    detail: str
    figures: Mapping[str, float] = field(default_factory=dict)


def failures(checks: Iterable[Check]) -> str:
    """Returns a line with all failed checks; empty if none failed."""
    return "; ".join(f"{check.name}: {check.detail}" for check in checks if check.passed is False)


def require_passed(folder: Path, checks: Iterable[Check]) -> Path:
    """Returns the folder of an evaluation; raises `GateRefused` if the evaluation failed one of its checks."""
    if failed := failures(checks):
        raise GateRefused(f"{folder}: the evaluation failed its own checks ({failed})")
    return folder


def table(checks: Sequence[Check]) -> Table:
    """Builds a table with a row per check, failures in bold."""
    verdicts = {True: ("passed", ""), False: ("FAILED", "bold red"), None: ("–", "dim")}
    result = Table("check", "", "found")
    for check in checks:
        word, style = verdicts[check.passed]
        result.add_row(Text(check.name), Text(word, style), Text(check.detail))
    return result


def permuted_targets(
    task: EvaluationTask, build: Callable[[EvaluationTask], Ranker], *, seed: int = 0, k: int = LIST_LENGTH
) -> Check:
    """Checks that the recall on random targets is that of chance; it is higher if the ranker or harness knows targets.

    Every listener gets as many targets as before, drawn uniformly from the unheard candidates. With `n` targets among
    `u` such candidates, the hits in a list of length `l` are hypergeometric: mean `l n / u`, variance `l n (u - n)
    (u - l) / (u^2 (u - 1))`. Recall is the hits over `min(k, n)`. Its mean over listeners, whose targets are drawn
    independently, must be within `LARGEST_Z` standard errors of the mean expectation.

    Candidates that the ranker cannot list, such as contents without a vector, can be targets, too, and count in `u`;
    they only make lists shorter, and `l` is the actual length.

    Args:
        task: listeners, candidates and targets.
        build: function that makes the ranker for the task with the drawn targets.
        seed: seed of the draw.
        k: length of the lists.
    """
    drawn, unheard = with_drawn_targets(task, seed)
    evaluation = evaluate(drawn, build(drawn), filter_seen=True, ks=(k,), min_users=1, list_length=k)
    name = f"{evaluation.ranker}: permuted targets, recall@{k}/discovery"
    positions = evaluation.slices["discovery"].positions
    if not len(positions):
        return Check(name=name, passed=None, detail="no listener has a target")
    found = evaluation.figures(f"recall@{k}/discovery")
    targets, candidates = drawn.targets.lengths[positions], unheard[positions].astype(np.float64)
    listed = (evaluation.lists["unseen"].rows[positions] >= 0).sum(axis=1)
    hits = listed * targets / candidates
    spread = hits * (candidates - targets) * (candidates - listed) / (candidates * np.maximum(candidates - 1, 1))
    best = np.minimum(k, targets)
    expected, error = float(np.mean(hits / best)), float(np.sqrt(np.sum(spread / best**2))) / len(positions)
    recall = float(found.mean())
    z = (recall - expected) / error if error > 0 else 0.0 if np.isclose(recall, expected) else np.inf
    is_enough = max(hits.sum(), float(np.sum(found * best))) >= FEWEST_HITS
    detail = f"{recall:.5f}, by chance {expected:.5f} ± {error:.5f} (z = {z:+.1f})"
    return Check(
        name=name,
        passed=bool(abs(z) <= LARGEST_Z) if is_enough else None,
        detail=detail if is_enough else f"{detail}; {hits.sum():.1f} hits are expected, too few to judge by",
        figures={"recall": recall, "expected": expected, "error": error, "z": float(z)},
    )


def shuffled_listeners(
    task: EvaluationTask,
    evaluation: Evaluation,
    user_vectors: Float[np.ndarray, "users dim"],
    build: Callable[[np.ndarray], Ranker],
    *,
    seed: int = 0,
    k: int = LIST_LENGTH,
) -> Check:
    """Measures the recall with every listener's vector replaced by another's, which is the part that is not personal.

    It only reports: among listeners with similar tastes a large part rightly remains.

    Args:
        task: listeners, candidates and targets.
        evaluation: evaluation of the vectors, with `k` among its lengths.
        user_vectors: `[users of the task, dim]`.
        build: function that makes the evaluated ranker from other listeners' vectors `[users of the task, dim]`.
        seed: seed of the shuffle.
        k: length of the lists.
    """
    key = f"recall@{k}/discovery"
    name = f"{evaluation.ranker}: shuffled listeners, {key}"
    own = evaluation.means().get(key)
    if own is None:
        return Check(name=name, passed=None, detail="too few listeners for a figure")
    # A cyclic permutation, so that no listener keeps their own vector.
    circle = np.random.default_rng(seed).permutation(len(user_vectors))
    others = np.empty_like(user_vectors)
    others[circle] = user_vectors[np.roll(circle, 1)]
    shuffled = evaluate(task, build(others), filter_seen=True, ks=(k,), min_users=evaluation.min_users)
    lost = paired_differences(evaluation, shuffled, [key])[key]
    share = lost.mean / own if own > 0 else 0.0
    return Check(
        name=name,
        passed=None,
        detail=f"{own:.4f}, with others' vectors {own - lost.mean:.4f}: {share:.0%} of it is personal "
        f"(difference {lost.low:.4f} to {lost.high:.4f})",
        figures={"own": own, "shuffled": own - lost.mean, "personal_share": share},
    )


def list_audit(task: EvaluationTask, evaluations: Sequence[Evaluation]) -> Check:
    """Checks all kept lists: they must contain no content twice and only candidates.

    `unseen` lists must contain no heard content; `unseen_cold` lists, in addition, no content played in training.

    Args:
        task: listeners, candidates and targets.
        evaluations: evaluations of the task by all rankers.

    Raises:
        ValueError: an evaluation has other listeners.
    """
    heard = np.unique(pair_keys(task.histories, task.num_contents))
    places, faults = 0, []
    for evaluation in evaluations:
        if not np.array_equal(evaluation.user_rows, task.user_rows):
            raise ValueError(f"{evaluation.ranker!r} was not evaluated on the listeners of this task")
        for ranking, ranked in evaluation.lists.items():
            places += int((ranked.rows >= 0).sum())
            counted = _faults(task, heard, ranking, ranked)
            faults += [f"{evaluation.ranker}, {ranking}: {count:,} {what}" for what, count in counted.items() if count]
    return Check(
        name="what lists hold",
        passed=not faults,
        detail="; ".join(faults) or f"{places:,} places of {len(evaluations)} rankers, none wrong",
        figures={"places": float(places)},
    )


def memorised_validation(
    validation: tuple[Evaluation, Evaluation], test: tuple[Evaluation, Evaluation], key: str = "recall@20/discovery"
) -> Check:
    """Checks whether the model's lift over a reference on validation vanishes on test, which indicates memorisation.

    A model that was trained on the validation targets has a large lift on validation, but not on test. The check uses
    the listeners with the metric in both periods. It fails if test keeps clearly less than `KEPT_LIFT` of the
    validation lift: if the mean over listeners of `test lift - KEPT_LIFT * validation lift` is more than `CLEAR_Z`
    standard errors below 0. A model that keeps at least that share fails in at most one of 1,000 cases (normal
    approximation, over at least `min_users` listeners). There is no verdict if the validation lift is not as clearly
    above 0. The interval of the ratio is Fieller's (1954), with 95 % confidence.

    Args:
        validation: evaluations of the model and the reference on the validation task.
        test: evaluations of the same two on the test task.
        key: metric to compare.

    Raises:
        ValueError: the two evaluations of a period have different listeners.
    """
    name = f"{validation[0].ranker}: memorised validation, {key}, against {validation[1].ranker}"
    before, after = _lifts(validation, key), _lifts(test, key)
    shared = sorted(before.keys() & after.keys())
    if len(shared) < max(validation[0].min_users, 2):
        detail = f"{len(shared)} listeners have figures in both periods, too few to judge by"
        return Check(name=name, passed=None, detail=detail)
    old, new = (np.array([lifts[row] for row in shared]) for lifts in (before, after))
    figures = {"validation_lift": float(old.mean()), "test_lift": float(new.mean()), "listeners": float(len(shared))}
    detail = f"lift {old.mean():.4f} on validation, {new.mean():.4f} on test ({len(shared):,} listeners of both)"
    if not _z_of_mean(old) > CLEAR_Z:
        return Check(name=name, passed=None, detail=f"{detail}: none to lose on validation", figures=figures)
    ratio, low, high = ratio_with_interval(new, old)
    return Check(
        name=name,
        passed=bool(_z_of_mean(new - KEPT_LIFT * old) >= -CLEAR_Z),
        detail=f"{detail}: {ratio:.2f} of it kept ({low:.2f} to {high:.2f})",
        figures=figures | {"ratio": ratio, "ratio_low": low, "ratio_high": high},
    )


def with_drawn_targets(task: EvaluationTask, seed: int) -> tuple[EvaluationTask, Int[np.ndarray, " users"]]:
    """Returns the task with random targets, and the number of candidates that each listener has not heard."""
    generator, candidates = np.random.default_rng(seed), np.flatnonzero(task.is_candidate)
    # Heard contents as ascending positions among the candidates.
    heard = task.histories.where(task.is_candidate[task.histories.values]).unique()
    heard = Ragged(heard.offsets, np.searchsorted(candidates, heard.values))
    unheard, targets = len(candidates) - heard.lengths, []
    for position, wanted in enumerate(task.ranked_targets.lengths.tolist()):
        free = int(unheard[position])
        drawn = generator.choice(free, min(wanted, free), replace=False)
        # The position of unheard candidate `i` is `i` plus the number of heard ones before it. So memory does not grow
        # with the candidates, and numpy draws few of many without listing them.
        before = heard[position] - np.arange(len(heard[position]))
        targets.append(candidates[drawn + np.searchsorted(before, drawn, side="right")])
    return replace(task, targets=Ragged.from_lists(targets)), unheard


def _faults(task: EvaluationTask, heard: Int[np.ndarray, " pairs"], ranking: Ranking, ranked: Ranked) -> dict[str, int]:
    """Returns the number of wrong places in the lists, by type of fault."""
    rows = ranked.rows.astype(np.int64)
    lists, ranks = np.nonzero(rows >= 0)
    contents = rows[lists, ranks]
    in_order = np.sort(rows, axis=1)
    faults = {
        "twice": int(((in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] >= 0)).sum()),
        "no candidates": int((~task.is_candidate[contents]).sum()),
    }
    if ranking != "everything":
        faults["heard before"] = int(np.isin(lists * task.num_contents + contents, heard).sum())
    if ranking == "unseen_cold":
        faults["played in training"] = int((~task.is_cold[contents]).sum())
    return faults


def _lifts(pair: tuple[Evaluation, Evaluation], key: str) -> dict[int, float]:
    """Returns the difference of the metric (first - second) by listener's row; empty if it is missing."""
    model, reference = pair
    _, slice_name = split_key(key)
    if key not in model.means() or key not in reference.means():
        return {}
    first, second = (one.user_rows[one.slices[slice_name].positions] for one in pair)
    if not np.array_equal(first, second):
        raise ValueError(f"{model.ranker!r} and {reference.ranker!r} were not evaluated on the same listeners")
    return dict(zip(first.tolist(), (model.figures(key) - reference.figures(key)).tolist(), strict=True))


def _z_of_mean(values: Float[np.ndarray, " users"]) -> float:
    """Returns the mean in standard errors; infinite (or 0 for a mean of 0) if all values are equal."""
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() / error) if error > 0 else float(np.sign(values.mean()) * np.inf if values.mean() else 0)


def ratio_with_interval(
    above: Float[np.ndarray, " users"], below: Float[np.ndarray, " users"]
) -> tuple[float, float, float]:
    """Returns the ratio of two means over the same listeners, and the bounds of its Fieller interval.

    The interval contains all `r` for which the mean of `above - r * below` is within `INTERVAL_Z` standard errors of 0.
    The mean of `below` must be clearly above 0.
    """
    (var_above, covariance), (_, var_below) = np.cov(above, below) * INTERVAL_Z**2 / len(above)
    a, b = float(above.mean()), float(below.mean())
    # The roots of (b^2 - var_below) r^2 - 2 (a b - covariance) r + (a^2 - var_above) = 0.
    square, middle, rest = b**2 - var_below, a * b - covariance, a**2 - var_above
    half = np.sqrt(max(middle**2 - square * rest, 0.0)) / square
    return a / b, float(middle / square - half), float(middle / square + half)
