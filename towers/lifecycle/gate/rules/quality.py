"""Rules on quality: not worse than the champion, as a whole and in every part."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import ClassVar

from towers.evaluation.result import metric_key, split_key
from towers.lifecycle.gate.evidence import Evidence, Lacking, Stage
from towers.lifecycle.gate.gate import SMALLEST_LOSS
from towers.lifecycle.gate.pairs import Paired, against_champion, paired, quantile
from towers.lifecycle.gate.verdict import Outcome, first_night


@dataclass(frozen=True, slots=True, kw_only=True)
class MainMetric:
    """The main metric must not be below the champion's by more than a margin, nor the margin too wide to show a loss.

    Args:
        seed_noise: for each compared slice (all must have enough listeners for a figure; null leaves one out), the
            standard deviation of the difference of two twins that differ in the seed alone, on infinitely many
            listeners, as a share of the figure; `benchmarks/nightly/gate_rates.py` measures it.
        margin: margin as a share of the champion's figure; null: the smallest margin at which such twins are refused on
            a share of `rate` of all nights (`pairs`).
        rate: rate of such refusals.
        max_margin: widest margin, as a share of the champion's figure; with a wider one, too few listeners show a loss.
    """

    seed_noise: Mapping[str, float | None] = field(default_factory=lambda: {"all": 0.01, "discovery": 0.02})
    margin: float | None = None
    rate: float = 0.05
    max_margin: float = 0.08

    stage: ClassVar[Stage] = "twins"

    def __post_init__(self):
        if not self._noise:
            raise ValueError("seed_noise: must name a slice, such as all")
        for noise in self._noise.values():
            _check_rate(self.rate, noise, self.margin)
        if not self.max_margin > 0:
            raise ValueError(f"max_margin must be above 0, got {self.max_margin}")

    @property
    def _noise(self) -> dict[str, float]:
        return {name: noise for name, noise in self.seed_noise.items() if noise is not None}

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        if evidence.is_first_night:
            return first_night(name)
        noise = {metric_key(evidence.main_metric, slice_name): noise for slice_name, noise in self._noise.items()}
        keys = list(noise)
        pairs = against_champion(evidence, keys)
        if absent := [key for key in keys if key not in pairs]:
            raise Lacking(
                f"too few listeners for a figure of {', '.join(absent)}; a longer window (night_split.days) has more, "
                "and evaluation.min_users says how many are enough"
            )
        if empty := [key for key, pair in pairs.items() if not pair.before > 0]:
            raise Lacking(f"the champion has no hit at all ({', '.join(empty)}), so no loss could show")
        margins = _margins(list(pairs.values()), self.margin, self.rate, noise)
        figures = {SMALLEST_LOSS: 2 * margins[keys[0]] / pairs[keys[0]].before}
        for key, pair in pairs.items():
            figures |= {key: pair.after, f"{key}, champion": pair.before, f"{key}, margin": margins[key]}
        worst = min(pairs.values(), key=lambda pair: pair.difference + margins[pair.key])
        found = {"rule": name, "figures": figures, "limit": -margins[worst.key], "interval": (worst.low, worst.high)}
        losses = _losses(pairs.values(), margins)
        if losses:
            return Outcome(status="refused", words="; ".join(losses), **found)
        for key, pair in pairs.items():
            if not margins[key] <= self.max_margin * pair.before:
                return Outcome(status="refused", words=self._blind(name, pair, margins[key]), **found)
        return Outcome(status="passed", words="; ".join(told(pair, margins) for pair in pairs.values()), **found)

    def _blind(self, name: str, pair: Paired, margin: float) -> str:
        return (
            f"{pair.key}: {pair.listeners:,} listeners show no loss below {2 * margin / pair.before:.0%} of the "
            f"champion's; a longer window (night_split.days) does, or gate.rules.{name}.max_margin="
            f"{margin / pair.before:.2f} takes it as it is"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The main metric of no part of the targets or listeners may fall below the champion's by more than noise explains.

    Args:
        slices: names, or patterns such as `history:*`; those without enough listeners for a figure are left out.
        least_listeners: a slice with fewer is left out, too.
        margin: margin as a share of the champion's figure; null: the smallest margin at which twins that differ in the
            seed alone are refused on a share of `rate` of all nights, for all parts together.
        rate: rate of such refusals.
        seed_noise: see `MainMetric`.
    """

    slices: tuple[str, ...]
    least_listeners: int = 100
    margin: float | None = None
    rate: float = 0.01
    seed_noise: float = 0.02

    stage: ClassVar[Stage] = "twins"

    def __post_init__(self):
        _check_rate(self.rate, self.seed_noise, self.margin)
        if self.least_listeners < 1:
            raise ValueError(f"least_listeners must be at least 1, got {self.least_listeners}")

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        if evidence.is_first_night:
            return first_night(name)
        metric, _ = split_key(evidence.main_metric)
        held = {**evidence.served.evaluation.counts, **evidence.challenger.evaluation.counts}
        wanted = [one for one in held if any(fnmatchcase(one, pattern) for pattern in self.slices)]
        keys = [metric_key(metric, one) for one in wanted if held[one] >= self.least_listeners]
        pairs = against_champion(evidence, keys)
        if not pairs:
            words = f"no part of {', '.join(self.slices)} has {self.least_listeners:,} listeners"
            return Outcome(rule=name, status="does not apply", words=words)
        margins = _margins(list(pairs.values()), self.margin, self.rate, dict.fromkeys(pairs, self.seed_noise))
        worst = min(pairs.values(), key=lambda pair: pair.difference + margins[pair.key])
        figures = {key: pair.difference for key, pair in pairs.items()}
        found = {"rule": name, "figures": figures, "limit": -margins[worst.key], "interval": (worst.low, worst.high)}
        losses = _losses(pairs.values(), margins)
        if losses:
            return Outcome(status="refused", words="; ".join(losses), **found)
        return Outcome(status="passed", words=f"{len(pairs)} compared, the lowest: {told(worst, margins)}", **found)


def told(pair: Paired, margins: Mapping[str, float]) -> str:
    """Returns a text for people with both figures and the margin."""
    return f"{pair.words()}, margin {margins[pair.key]:.4f}"


def _losses(pairs: Iterable[Paired], margins: Mapping[str, float]) -> list[str]:
    """Returns lines on pairs below the margin, or not comparable with it, the worst first."""
    lost = [pair for pair in pairs if not pair.difference >= -margins[pair.key]]
    return [told(pair, margins) for pair in sorted(lost, key=lambda pair: pair.difference + margins[pair.key])]


def _margins(
    pairs: Sequence[Paired], margin: float | None, rate: float, seed_noise: Mapping[str, float]
) -> dict[str, float]:
    """Returns the margin by key; the same rate holds for all keys together."""
    if margin is not None:
        return {pair.key: margin * pair.before for pair in pairs}
    z = quantile(rate, len(pairs))
    return {pair.key: z * pair.sigma(seed_noise[pair.key]) for pair in pairs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """The published run must find at least what its judged twin finds, on a window that it alone was trained on.

    It must be better there. If it is not, it has not learnt, or has lost what the twin had.

    Args:
        least: least share of the twin's figure.
        slices: slices in which it is compared; those without enough listeners are left out.
    """

    least: float = 1.0
    slices: tuple[str, ...] = ("all", "discovery")

    stage: ClassVar[Stage] = "export"

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """See `Rule`."""
        if evidence.refit is None:
            raise Lacking("the refit was not measured")
        keys = [metric_key(evidence.main_metric, slice_name) for slice_name in self.slices]
        pairs = paired(evidence.refit.evaluation, evidence.challenger.evaluation, keys)
        if not pairs:
            raise Lacking(f"too few listeners for a figure of {evidence.main_metric} (evaluation.min_users)")
        shares = {key: pair.after / pair.before if pair.before > 0 else math.nan for key, pair in pairs.items()}
        is_kept = all(share >= self.least for share in shares.values())
        words = ", ".join(f"{key} {pairs[key].after:.4f} after {pairs[key].before:.4f}" for key in pairs)
        return Outcome(
            rule=name,
            status="passed" if is_kept else "refused",
            words=f"{words} before it was trained on the window, too (least {self.least:.0%})",
            figures=shares,
            limit=self.least,
        )


def _check_rate(rate: float, seed_noise: float, margin: float | None) -> None:
    if not 0 < rate < 0.5:
        raise ValueError(f"rate must lie between 0 and 0.5, got {rate}")
    if not seed_noise >= 0:
        raise ValueError(f"seed_noise must be 0 or more, got {seed_noise}")
    if margin is not None and not margin >= 0:
        raise ValueError(f"margin must be null, or 0 or more, got {margin}")
