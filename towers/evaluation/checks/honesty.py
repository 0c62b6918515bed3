"""Checks that an evaluation measures what it says, each a `Check` with a figure.

They know no model: whoever ranks comes as a `Ranker`, as vectors, or by what it was found to do. That nothing is read
from the future is checked in `future`.
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
"""A figure farther from its expectation, in standard errors, is no accident: 6 in 100,000 are, of honest ones."""
FEWEST_HITS: Final = 10.0
"""Where fewer are expected and found, hits are too rare for a z to say anything."""
KEPT_LIFT: Final = 0.5
CLEAR_Z: Final = 3.09
"""One in 1,000 of a normal figure lies beyond it on one side."""
INTERVAL_Z: Final = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a check found.

    Args:
        name: of the check.
        passed: null where it only reports, or has too little to judge by.
        detail: one line for people, with its figure.
        figures: the same for what comes after.
    """

    name: str
    passed: bool | None
    detail: str
    figures: Mapping[str, float] = field(default_factory=dict)


def failures(checks: Iterable[Check]) -> str:
    """The checks that were not passed, in a line; empty where all were."""
    return "; ".join(f"{check.name}: {check.detail}" for check in checks if check.passed is False)


def require_passed(folder: Path, checks: Iterable[Check]) -> Path:
    """The folder of an evaluation again; raises `GateRefused` where it failed one of its own checks."""
    if failed := failures(checks):
        raise GateRefused(f"{folder}: the figures do not stand up to their own checks ({failed})")
    return folder


def table(checks: Sequence[Check]) -> Table:
    """A row a check, failures in bold."""
    verdicts = {True: ("passed", ""), False: ("FAILED", "bold red"), None: ("–", "dim")}
    result = Table("check", "", "found")
    for check in checks:
        word, style = verdicts[check.passed]
        result.add_row(Text(check.name), Text(word, style), Text(check.detail))
    return result


def permuted_targets(
    task: EvaluationTask, build: Callable[[EvaluationTask], Ranker], *, seed: int = 0, k: int = LIST_LENGTH
) -> Check:
    """With targets drawn at random, whoever ranks must have the recall of chance: a ranker or a harness that knows the
    targets has more.

    Every listener gets as many targets as before, drawn uniformly from the candidates not heard. Of `n` targets among
    `u` such candidates, a list of `l` of them holds a hypergeometric number: in the mean `l n / u`, with the variance
    `l n (u - n) (u - l) / (u^2 (u - 1))`. Recall is that over `min(k, n)`, and its mean over listeners, who are drawn
    independently, must lie within `LARGEST_Z` standard errors of the mean of the expectations.

    Candidates that the ranker cannot list, such as contents without a vector, are drawn as targets like others and
    count in `u`; they only make lists shorter, and `l` is the length found, with places that are filled.

    Args:
        task: what is ranked for whom.
        build: makes the ranker anew, for the task with the drawn targets.
        seed: of the draw.
        k: length of the lists.
    """
    drawn, unheard = with_drawn_targets(task, seed)
    evaluation = evaluate(drawn, build(drawn), filter_seen=True, ks=(k,), min_users=1, list_length=k)
    name = f"{evaluation.ranker}: permuted targets, recall@{k}/discovery"
    positions = evaluation.slices["discovery"].positions
    if not len(positions):
        return Check(name=name, passed=None, detail="nobody has a target")
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
    """What is left when every listener has another's vector: the part of the recall that is not personal.

    Reported, not judged: among listeners of like taste much is left, and rightly so.

    Args:
        task: what is ranked for whom.
        evaluation: of the vectors, with `k` among its lengths.
        user_vectors: `[users of the task, dim]`.
        build: makes the ranker that was evaluated anew, from other listeners' vectors `[users of the task, dim]`.
        seed: of the shuffle.
        k: length of the lists.
    """
    key = f"recall@{k}/discovery"
    name = f"{evaluation.ranker}: shuffled listeners, {key}"
    own = evaluation.means().get(key)
    if own is None:
        return Check(name=name, passed=None, detail="too few listeners for a figure")
    # Round one large circle, so that nobody keeps their own.
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
    """Over all kept lists: no content twice, no content that is no candidate; in `unseen` lists none that the listener
    has heard; in `unseen_cold` lists none of these, and none that was played in training.

    Args:
        task: what was ranked for whom.
        evaluations: of the task, whoever ranked.

    Raises:
        ValueError: an evaluation is of other listeners.
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
    """Whether the lift of the model over a reference, of the same listeners, goes when the period is a new one.

    A model that has seen the validation targets lifts far above the reference on validation, and on test no more than
    it has learnt. Judged by the listeners who have figures in both periods; fails where the test keeps clearly less
    than `KEPT_LIFT` of the validation's lift: where the mean over listeners of `test lift - KEPT_LIFT * validation
    lift` lies more than `CLEAR_Z` standard errors below 0. A model that keeps that share or more is accused in one
    case of 1,000 at most (normal approximation, over `min_users` listeners or more). Not judged where the validation's
    lift itself is not as clearly above 0. The interval of the ratio is Fieller's (1954), with 95 % confidence.

    Args:
        validation: the model and the reference, on the validation task.
        test: the same two, on the test task.
        key: the figure.

    Raises:
        ValueError: the two of a period were not evaluated on the same listeners.
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
    """The task with other targets, and how many candidates each listener has not heard."""
    generator, candidates = np.random.default_rng(seed), np.flatnonzero(task.is_candidate)
    # Heard contents as places among the candidates, rising.
    heard = task.histories.where(task.is_candidate[task.histories.values]).unique()
    heard = Ragged(heard.offsets, np.searchsorted(candidates, heard.values))
    unheard, targets = len(candidates) - heard.lengths, []
    for position, wanted in enumerate(task.ranked_targets.lengths.tolist()):
        free = int(unheard[position])
        drawn = generator.choice(free, min(wanted, free), replace=False)
        # The unheard candidate `i` stands as many places further as heard ones stand before it; so nothing is held
        # for each candidate, and numpy draws few of many without a list of the many.
        before = heard[position] - np.arange(len(heard[position]))
        targets.append(candidates[drawn + np.searchsorted(before, drawn, side="right")])
    return replace(task, targets=Ragged.from_lists(targets)), unheard


def _faults(task: EvaluationTask, heard: Int[np.ndarray, " pairs"], ranking: Ranking, ranked: Ranked) -> dict[str, int]:
    """How many places of the lists hold what they must not, by the fault."""
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
    """By row of the listener, the figure of the first less that of the second; empty where there is no figure."""
    model, reference = pair
    _, slice_name = split_key(key)
    if key not in model.means() or key not in reference.means():
        return {}
    first, second = (one.user_rows[one.slices[slice_name].positions] for one in pair)
    if not np.array_equal(first, second):
        raise ValueError(f"{model.ranker!r} and {reference.ranker!r} were not evaluated on the same listeners")
    return dict(zip(first.tolist(), (model.figures(key) - reference.figures(key)).tolist(), strict=True))


def _z_of_mean(values: Float[np.ndarray, " users"]) -> float:
    """The mean in its standard errors; values that are all the same have none."""
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() / error) if error > 0 else float(np.sign(values.mean()) * np.inf if values.mean() else 0)


def ratio_with_interval(
    above: Float[np.ndarray, " users"], below: Float[np.ndarray, " users"]
) -> tuple[float, float, float]:
    """The ratio of two means over the same listeners, and Fieller's interval: all `r` for which the mean of
    `above - r * below` is within `INTERVAL_Z` standard errors of 0. `below` is clearly above 0.
    """
    (var_above, covariance), (_, var_below) = np.cov(above, below) * INTERVAL_Z**2 / len(above)
    a, b = float(above.mean()), float(below.mean())
    # The roots of (b^2 - var_below) r^2 - 2 (a b - covariance) r + (a^2 - var_above) = 0.
    square, middle, rest = b**2 - var_below, a * b - covariance, a**2 - var_above
    half = np.sqrt(max(middle**2 - square * rest, 0.0)) / square
    return a / b, float(middle / square - half), float(middle / square + half)
