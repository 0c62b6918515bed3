"""An evaluation: its configuration to a plan, and the protocol that is the same for all rankers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from towers.assembly.baselines import baselines_of
from towers.assembly.judging import Judging, judging_of, vector_ranker
from towers.assembly.prepared import PreparedStore, prepared_store
from towers.assembly.subject import Subject, open_subject
from towers.config.composing import resolved
from towers.config.instantiate import instantiate, value
from towers.data.store import Store
from towers.errors import UserError
from towers.evaluation import list_metrics
from towers.evaluation.metrics import METRICS
from towers.evaluation.profiles import TASTE_SLICING
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.result import ALL, split_key
from towers.evaluation.slices import SLICES
from towers.evaluation.slicings import Period, SlicingRule
from towers.evaluation.tuning import Build, Tuning

MODEL = "towers"
"""Name of the evaluated run or export in tables with baselines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """Plan of `towers evaluate`.

    Args:
        judging: settings shared by all rankers.
        period: evaluated period.
        list_k: length of the lists that are kept.
        slicings: rules that divide first listens further, by name.
        main_metric: metric that gets intervals.
        tables: columns of the printed tables.
        tuning: tuning of the baselines.
        baselines: for each name, a function that makes the baseline from settings.
        settings: group `evaluation` as plain values, for fingerprints.
        stores: folder of all prepared stores.
        evaluations: folder of evaluations that belong to no run.
        prepared: store on which an export is evaluated.
    """

    judging: Judging
    period: Period
    list_k: int
    slicings: dict[str, SlicingRule]
    main_metric: str
    tables: tuple[list[str], ...]
    tuning: Tuning
    baselines: dict[str, Build]
    settings: dict[str, Any]
    stores: Path
    evaluations: Path
    prepared: PreparedStore

    def open(self, folder: Path) -> Subject:
        """Opens the run or export in `folder`."""
        return open_subject(folder, self.stores, self.prepared, self.evaluations)

    def protocol(self, store: Store) -> EvaluationProtocol:
        """Returns the protocol of all rankers on a store.

        Raises:
            UserError: no listener has a target in the period.
        """
        protocol = EvaluationProtocol(
            store,
            self.period,
            **self.judging.as_keywords(),
            list_k=self.list_k,
            rules=self.slicings,
            ranker=vector_ranker(),
        )
        if not len(protocol.task.user_rows):
            other = "validation" if self.period == "test" else "test"
            raise UserError(
                f"evaluation.period={self.period}: no listener in {store.folder} has a target in it; "
                f"evaluation.period={other} judges the other period, and data.split cuts the data elsewhere"
            )
        return protocol


def evaluation_plan(config: DictConfig) -> EvaluationPlan:
    """Turns the configuration of `towers evaluate` into a plan.

    Raises:
        UserError: an invalid value; the message names its key.
    """
    judging, tuning = judging_of(config), instantiate(config.evaluation.tuning, "evaluation.tuning")
    nodes = (config.evaluation.slicings or {}).items()
    period = config.evaluation.period
    if period not in ("validation", "test"):
        raise UserError(f"evaluation.period={period}: must be validation or test")
    plan = EvaluationPlan(
        judging=judging,
        period=period,
        list_k=value(config, "evaluation.list_k", int),
        slicings={
            str(name): instantiate(node, f"evaluation.slicings.{name}") for name, node in nodes if node is not None
        },
        main_metric=value(config, "evaluation.main_metric", str),
        tables=value(config, "evaluation.tables", tuple[list[str], ...] | None) or (),
        tuning=tuning,
        baselines=baselines_of(config.evaluation.baselines, tuning),
        settings=resolved(config.evaluation),
        stores=Path(config.paths.stores),
        evaluations=Path(config.paths.evaluations),
        prepared=prepared_store(config),
    )
    _check(plan, [str(name) for name, _ in nodes])
    return plan


def _check(plan: EvaluationPlan, slicings: Sequence[str]) -> None:
    """Refuses columns that no evaluation can have, before anything is read."""
    ks = plan.judging.ks
    if plan.list_k not in ks:
        raise UserError(f"evaluation.list_k={plan.list_k}: must be one of evaluation.ks={list(ks)}")
    if TASTE_SLICING in slicings:
        raise UserError(f"evaluation.slicings.{TASTE_SLICING}: this name is taken; choose another")
    if split_key(plan.main_metric)[1] != ALL:
        raise UserError(f"evaluation.main_metric={plan.main_metric}: give it without a slice; it is shown for all")
    _check_column("evaluation.main_metric", plan.main_metric, ks, slicings)
    for keys in plan.tables:
        for key in keys:
            _check_column("evaluation.tables", key, ks, slicings)


def _check_column(where: str, key: str, ks: Sequence[int], slicings: Sequence[str]) -> None:
    metric, slice_name = split_key(key)
    name, _, k = metric.partition("@")
    if k not in map(str, ks) or name not in (*METRICS, *list_metrics.NAMES):
        raise UserError(
            f"{where}: no metric {metric!r} with evaluation.ks={list(ks)}; there are "
            f"{', '.join((*METRICS, *list_metrics.NAMES))}"
        )
    divides = slice_name.partition(":")
    if slice_name not in SLICES and not (divides[1] and divides[0] in (*slicings, TASTE_SLICING)):
        raise UserError(
            f"{where}: no slice {slice_name!r}; there are {', '.join(SLICES)}, and NAME:LABEL of evaluation.slicings"
        )
