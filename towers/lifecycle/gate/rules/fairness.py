"""Rules on the comparison itself: whether all were measured alike, and whether the figures can be true."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from towers.evaluation.checks.honesty import failures
from towers.evaluation.metrics import METRICS
from towers.evaluation.result import Evaluation, metric_key, split_key
from towers.lifecycle.gate.evidence import Evidence, Judged, Lacking, Reached, Stage
from towers.lifecycle.gate.pairs import against_champion, quantile
from towers.lifecycle.gate.verdict import Outcome, first_night


def judged_of(evidence: Evidence) -> list[Judged]:
    """Returns the challenger, and the champion's twin where it is not the first night."""
    return [evidence.challenger] if evidence.is_first_night else [evidence.challenger, evidence.served]


def evaluations_of(evidence: Evidence) -> Iterator[tuple[str, Evaluation]]:
    """Yields all evaluations with names for people."""
    for each in judged_of(evidence):
        yield each.name, each.evaluation
        if each.by_chance is not None:
            yield f"{each.name}, by chance", each.by_chance
    yield from evidence.baselines.items()


@dataclass(frozen=True, slots=True, kw_only=True)
class SameWindow:
    """All must have been measured on the same listeners, targets and candidates."""

    stage: ClassVar[Stage] = "twins"

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        challenger = evidence.challenger
        faults = []
        if not len(challenger.evaluation.user_rows):
            faults.append("no listener has a target in it")
        if not challenger.window.num_candidates:
            faults.append("no content could be ranked")
        if not evidence.is_first_night and (other := evidence.served).window != challenger.window:
            parts = [part for part in ("store", "period", "start_us", "num_candidates", "candidates")
                     if getattr(other.window, part) != getattr(challenger.window, part)]  # fmt: skip
            faults.append(f"the champion's differs in {', '.join(parts)}")
        for named, evaluation in evaluations_of(evidence):
            if differs := _differs(challenger.evaluation, evaluation):
                faults.append(f"{named} was measured on other {differs}")
        held = f"{len(challenger.evaluation.user_rows):,} listeners, {challenger.window.num_candidates:,} candidates"
        figures = {
            "listeners": float(len(challenger.evaluation.user_rows)),
            "candidates": float(challenger.window.num_candidates),
        }
        words = "; ".join(faults) or f"{held} of store {challenger.window.store[:10]}, for all"
        return Outcome(rule=name, status="refused" if faults else "passed", words=words, figures=figures)


def _differs(first: Evaluation, second: Evaluation) -> str | None:
    """Returns in what two evaluations differ, listeners or targets, as far as these show; null where they do not."""
    if not np.array_equal(first.user_rows, second.user_rows):
        return "listeners"
    for slice_name in ("all", "discovery"):
        slices = first.slices.get(slice_name), second.slices.get(slice_name)
        if slices[0] is None or slices[1] is None or not np.array_equal(slices[0].positions, slices[1].positions):
            return f"targets ({slice_name})"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """No twin may have been trained on the window that it is judged on."""

    stage: ClassVar[Stage] = "twins"

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        twins = judged_of(evidence)
        seen = [
            f"{each.name}: {each.trained_before.detail}" for each in twins if each.trained_before.passed is not True
        ]
        told = "; ".join(seen or [f"{each.name}: {each.trained_before.detail}" for each in twins])
        words = f"a twin has seen the window, or may have: {told}" if seen else told
        return Outcome(rule=name, status="refused" if seen else "passed", words=words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Honest:
    """The evaluation must pass its self-checks."""

    stage: ClassVar[Stage] = "twins"

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        checks = evidence.challenger.checks
        if not checks:
            raise Lacking("the evaluation was not checked")
        twins = {each.name: each.checks or () for each in judged_of(evidence)}
        failed = [f"{named}: {text}" for named, made in twins.items() if (text := failures(made))]
        passed = sum(check.passed is True for made in twins.values() for check in made)
        words = "; ".join(failed) or f"{passed} checks passed, none failed"
        return Outcome(rule=name, status="refused" if failed else "passed", words=words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finite:
    """Every figure and every score must be a number, and the main metric must have a figure."""

    stage: ClassVar[Stage] = "twins"

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        faults, counted = [], 0
        for named, evaluation in evaluations_of(evidence):
            counted += len(evaluation.means())
            faults += [f"{named}: {fault}" for fault in _not_finite(evaluation)]
        if evidence.main_metric not in evidence.challenger.evaluation.means():
            faults.append(f"{evidence.challenger.name} has no figure of {evidence.main_metric}")
        words = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
        status = "refused" if faults else "passed"
        return Outcome(
            rule=name, status=status, words=words or f"{counted:,} figures", figures={"figures": float(counted)}
        )


def _not_finite(evaluation: Evaluation) -> Iterator[str]:
    for slice_name, result in evaluation.slices.items():
        for metric, values in result.values.items():
            # A list may lack a diversity, but every listener has hits or misses.
            odd = ~np.isfinite(values) if metric.partition("@")[0] in METRICS else np.isinf(values)
            if odd.any():
                yield f"{metric_key(metric, slice_name)} of {int(odd.sum()):,} listeners is no number"
    yield from (f"{key} is no number" for key, figure in evaluation.catalogue.items() if not math.isfinite(figure))
    for ranking, ranked in evaluation.lists.items():
        if odd := int((~np.isfinite(ranked.scores[ranked.rows >= 0])).sum()):
            yield f"{odd:,} scores of the lists {ranking!r} are no numbers"


@dataclass(frozen=True, slots=True, kw_only=True)
class TooGood:
    """The challenger must not be better than a day more of data explains: usually the champion was opened wrongly, or
    the window leaks.

    Args:
        max_gain: greatest gain of the main metric for a day, as a share of the champion's figure; for several days it
            grows with the square root of their number.
        slices: slices in which it is compared; those without enough listeners are left out.
    """

    max_gain: float = 0.25
    slices: tuple[str, ...] = ("all", "discovery")

    stage: ClassVar[Stage] = "twins"

    def __post_init__(self):
        if not self.max_gain > 0:
            raise ValueError(f"max_gain must be above 0, got {self.max_gain}")

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        if evidence.is_first_night:
            return first_night(name)
        pairs = against_champion(evidence, [metric_key(evidence.main_metric, one) for one in self.slices])
        if not pairs:
            raise Lacking(f"too few listeners for a figure of {evidence.main_metric} (evaluation.min_users)")
        limit = self.max_gain * math.sqrt(evidence.days)
        best = max(pairs.values(), key=lambda pair: pair.difference - limit * pair.before)
        gain = best.difference / best.before if best.before > 0 else float("inf")
        is_kept = all(pair.before > 0 and pair.difference <= limit * pair.before for pair in pairs.values())
        words = f"{best.words()}: {gain:+.1%} (limit {limit:+.0%})"
        return Outcome(
            rule=name,
            status="passed" if is_kept else "refused",
            words=words if is_kept else f"{words}; was the champion opened wrongly, or does the window leak?",
            figures={"gain": gain},
            limit=limit,
            interval=(best.low, best.high),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduces:
    """The champion, measured again, must reach its metric of the night it was judged.

    The windows overlap but are not the same, so the difference of two independent means is allowed for, and a share of
    the figure for the variation between days.

    Args:
        rate: share of nights on which the sample of listeners alone makes it refuse; above 0 and below 0.5.
        days: variation of the figure from day to day, as a share of it; for several days it grows with the square root
            of their number.
    """

    rate: float = 0.01
    days: float = 0.1

    stage: ClassVar[Stage] = "twins"

    def __post_init__(self):
        if not 0 < self.rate < 0.5 or not self.days >= 0:
            raise ValueError(f"rate must lie between 0 and 0.5 and days be 0 or more, got {self.rate}, {self.days}")

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        if evidence.is_first_night:
            return first_night(name)
        before = evidence.reached
        if evidence.is_adopted:
            words = "no night published the served version, so it was never judged like this"
            return Outcome(rule=name, status="does not apply", words=words)
        if before is None:
            raise Lacking("the champion's figure of the night it was judged is not known")
        now = Reached.of(evidence.served, before.key, before.by_chance)
        allowed = quantile(self.rate / 2) * math.hypot(before.error, now.error)
        allowed += self.days * math.sqrt(evidence.days) * before.mean
        difference = now.mean - before.mean
        is_kept = abs(difference) <= allowed
        words = f"{now.key} {now.mean:.4f} now, {before.mean:.4f} when it was judged (within {allowed:.4f})"
        way_out = "; was it opened wrongly, or is tonight's data of another kind?"
        return Outcome(
            rule=name,
            status="passed" if is_kept else "refused",
            words=words if is_kept else f"{words}{way_out}",
            figures={"now": now.mean, "before": before.mean, "difference": difference},
            limit=allowed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestDay:
    """Choices of listeners on the newest day must be predicted as well as those on the days before: else the day was
    filled wrongly, such as with events of other listeners or contents.

    Judged by the champion's twin, which has seen no day of the window; on the first night by the challenger.

    Args:
        slicing: node of `evaluation.slicings` that divides by day (`LastDays`).
        least: least share of the mean of the days before.
        rate: share of nights on which the sample of listeners alone makes it refuse; above 0 and below 0.5.
    """

    slicing: str = "day"
    least: float = 0.6
    rate: float = 0.01

    stage: ClassVar[Stage] = "twins"

    def __post_init__(self):
        if not 0 < self.rate < 0.5 or not 0 < self.least <= 1:
            raise ValueError(f"rate must lie between 0 and 0.5, least in (0, 1], got {self.rate}, {self.least}")

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        twin = evidence.challenger if evidence.is_first_night else evidence.served
        if twin.window.start_us is None:
            return Outcome(rule=name, status="does not apply", words="the events have no times, so no day is the last")
        held = sorted(one for one in twin.evaluation.slices if one.startswith(f"{self.slicing}:"))
        if not held:
            raise Lacking(f"the evaluation is not divided by days (evaluation.slicings.{self.slicing})")
        metric, _ = split_key(evidence.main_metric)
        keys = [metric_key(metric, one) for one in held]
        means = twin.evaluation.means()
        earlier = [Reached.of(twin, key, False) for key in keys[:-1] if key in means]
        if keys[-1] not in means or not earlier:
            words = f"too few listeners choose anything new on {held[-1]}, or on the days before"
            return Outcome(rule=name, status="does not apply", words=words)
        newest = Reached.of(twin, keys[-1], False)
        usual = float(np.mean([day.mean for day in earlier]))
        error = float(np.sqrt(np.sum([day.error**2 for day in earlier]))) / len(earlier)
        limit = self.least * usual - quantile(self.rate) * math.hypot(newest.error, self.least * error)
        return Outcome(
            rule=name,
            status="passed" if newest.mean >= limit else "refused",
            words=f"{newest.key} {newest.mean:.4f}, on the days before {usual:.4f} (limit {limit:.4f})",
            figures={"newest": newest.mean, "days before": usual},
            limit=limit,
        )
