"""The rule by which `exports/current` moves to a version."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from omegaconf import DictConfig

from towers.config.instantiate import value
from towers.errors import UserError
from towers.evaluation.acceptance import acceptance, lower, own_means
from towers.evaluation.checks.honesty import Check, failures
from towers.evaluation.slicings import Period
from towers.lifecycle.ledger import why_barred_anywhere
from towers.manifest import read_json
from towers.publishing.writer import CURRENT
from towers.retrieval.files import MANIFEST

Promote = Literal[True, False, "auto"]
"""Whether `current` moves to a version. auto: it does where the version's run was evaluated, the evaluation passed its
own checks, its figures are not below those of popularity, nor below the served version's where both were judged on the
same data, and no newer version serves."""

JUDGED_ON: tuple[Period, ...] = ("test", "validation")
"""Periods in order: the first that the run was evaluated on decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """The rule by which `current` moves.

    Args:
        exports: folder of all versions.
        nights: folder of the ledgers, which know versions that were marked bad.
        main_metric: metric by which a run may be published automatically.
        promote: value of the caller's key `promote`.
    """

    exports: Path
    nights: Path
    main_metric: str
    promote: Promote

    def withheld(self, run: Path, target: Path) -> str | None:
        """Returns why `current` does not move to the version in `target`, which was made from `run`; null where it
        moves, or points there already.

        Raises:
            UserError: the version was marked bad, or equals one that was, so that nothing publishes it.
        """
        served = self.served()
        if served == target.resolve():
            return None
        if self.promote is False:
            return "promote=false"
        if barred := why_barred_anywhere(self.nights, read_json(target / MANIFEST)):
            raise UserError(f"{target}: is not published, for {barred}; current stays")
        if self.promote is True:
            return None
        if served is not None and (older := older_by(target, served)):
            return f"{older} {served.name}, which serves now"
        for period in JUDGED_ON:
            if means := evaluated_means(run, period):
                if failed := failures(evaluated_checks(run, period)):
                    return f"its evaluation fails its own checks ({failed})"
                return acceptance(means, self.main_metric).refusal or self._below(served, target)
        return f"{run} was not evaluated (towers evaluate checkpoint={run})"

    def served(self) -> Path | None:
        """Returns the version that `current` points to; null where there is none."""
        current = self.exports / CURRENT
        return current.resolve() if current.exists() else None

    def _below(self, served: Path | None, target: Path) -> str | None:
        """Returns the metrics in which a version is worse than the served one, if both were judged on the same data."""
        if served is None:
            return None
        before, after = (read_json(folder / MANIFEST) for folder in (served, target))
        if before.get("data_fingerprint") != after.get("data_fingerprint"):
            return None
        # A manifest has no figures where its run was not evaluated when it was exported.
        own, others = (own_means(manifest.get("metrics", {})) for manifest in (after, before))
        below = lower(own, others, self.main_metric).items()
        told = [f"{key} {figure:.3f} against {other:.3f}" for key, (figure, other) in below]
        return f"it is below {served.name}, which serves now: {', '.join(told)}" if told else None


def promotion_of(config: DictConfig) -> Promotion:
    """Reads the rule from the configuration of `towers export`.

    Raises:
        UserError: `promote` is neither true, false nor auto.
    """
    return Promotion(
        exports=Path(config.paths.exports),
        nights=Path(config.paths.nights),
        main_metric=value(config, "evaluation.main_metric", str),
        promote=promote_of(config),
    )


def promote_of(config: DictConfig) -> Promote:
    """Reads `promote`.

    Raises:
        UserError: it is neither true, false nor auto.
    """
    found = value(config, "promote", bool | str)
    if found is True or found is False or found == "auto":
        return found
    raise UserError(f"promote={found}: must be true, false or auto")


def evaluation_of(run: Path, period: Period) -> Path:
    """Returns the path of the file with the figures of a run's evaluation."""
    return run / f"evaluation-{period}" / "metrics.json"


def evaluated_means(run: Path, period: Period) -> dict[str, dict[str, float]]:
    """Returns means by ranker of a run's evaluation in a period, the model's first; empty where there is none."""
    path = evaluation_of(run, period)
    rankers = read_json(path)["rankers"] if path.exists() else {}
    return {name: figures["means"] for name, figures in rankers.items()}


def evaluated_checks(run: Path, period: Period) -> list[Check]:
    """Returns the self-checks of a run's evaluation in a period; older evaluations have none."""
    metadata = read_json(evaluation_of(run, period))["metadata"]
    return [Check(**check) for check in metadata.get("checks", [])]


def older_by(version: Path, other: Path) -> str | None:
    """Returns in what a version is older than another, as words that the other's name follows; null where it is not."""
    ends = data_end(version), data_end(other)
    if ends[0] is not None and ends[1] is not None and ends[0] != ends[1]:
        return "its data ends before that of" if ends[0] < ends[1] else None
    return "it was exported before" if written_ns(version) < written_ns(other) else None


def data_end(version: Path) -> datetime | None:
    """Returns the time of the last event of a version's data; null where events have no times."""
    end = read_json(version / MANIFEST).get("window", {}).get("end")
    return None if end is None else datetime.fromisoformat(end)


def written_ns(version: Path) -> int:
    """Returns when a version was written, in nanoseconds; names of two versions of one day differ in a fingerprint
    only."""
    return (version / MANIFEST).stat().st_mtime_ns
