"""Evidence of a gate on a night: two twins measured on one window, the export, its answers, and the data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from towers.data.profiling.verdict import Verdict as DataVerdict
from towers.evaluation.checks.honesty import Check
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.result import ALL, Evaluation, split_key
from towers.evaluation.slicings import Period
from towers.manifest import digest_of

Stage = Literal["data", "twins", "export", "served"]
"""Stages of a night: the data is prepared, the twins are evaluated, the export is written, the export has answered in a
server."""
STAGES: Final[tuple[Stage, ...]] = ("data", "twins", "export", "served")


class Lacking(Exception):
    """A rule cannot be judged; the message names what is missing and the way out. The gate then refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The events that a ranker was measured on, and the candidates.

    Args:
        store: fingerprint of the prepared store.
        period: period of the store.
        start_us: start of the window, in microseconds since 1970; null where events have no times.
        candidates: digest of the contents that could be ranked.
        num_candidates: number of these contents.
    """

    store: str
    period: Period
    start_us: int | None
    candidates: str
    num_candidates: int

    @classmethod
    def of(cls, protocol: EvaluationProtocol) -> "Window":
        """Returns the window that a protocol measures on."""
        is_candidate = protocol.task.is_candidate
        return cls(
            store=protocol.store.fingerprint,
            period=protocol.period,
            start_us=protocol.store.manifest.get(f"{protocol.period}_start_us"),
            candidates=digest_of(is_candidate.nonzero()[0].tolist()),
            num_candidates=int(is_candidate.sum()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A judged twin, measured on the window.

    Args:
        name: name of the version or the run, for people.
        window: window that it was measured on.
        evaluation: evaluation by the inner products of the towers' vectors.
        trained_before: result of `checks.future.trained_before`: whether its training ended before the window.
        by_chance: evaluation by the chance of a listen; null: judged by inner products alone.
        checks: self-checks of the evaluation (`checks.all_checks`); null: none were made.
    """

    name: str
    window: Window
    evaluation: Evaluation
    trained_before: Check
    by_chance: Evaluation | None = None
    checks: tuple[Check, ...] | None = None

    def ranked_for(self, key: str) -> Evaluation:
        """Returns the evaluation that is compared with baselines (`acceptance.own_means`): for all targets the one by
        the chance of a listen, if there is one, as inner products rank repeated listens poorly; else the one by inner
        products."""
        return self.by_chance if split_key(key)[1] == ALL and self.by_chance is not None else self.evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Metrics of a twin on the night it was judged; kept beside the verdict for nights on which it is the champion.

    Args:
        key: key of the figure, such as `recall@20`.
        mean: mean over listeners.
        error: standard error of the mean.
        listeners: number of listeners.
        by_chance: whether contents were ranked by the chance of a listen.
    """

    key: str
    mean: float
    error: float
    listeners: int
    by_chance: bool

    @classmethod
    def of(cls, judged: Judged, key: str, by_chance: bool | None = None) -> "Reached":
        """Reads a figure of a measured twin.

        Args:
            judged: measured twin.
            key: key of the figure.
            by_chance: whether to use the chance of a listen; null: as for `Judged.ranked_for`.

        Raises:
            Lacking: the twin has no such figure.
        """
        if by_chance is None:
            by_chance = judged.ranked_for(key) is judged.by_chance
        evaluation = judged.by_chance if by_chance else judged.evaluation
        if evaluation is None or key not in evaluation.means():
            raise Lacking(f"{judged.name} has no figure of {key}{' by the chance of a listen' if by_chance else ''}")
        figures = evaluation.figures(key)
        error = float(figures.std(ddof=1) / np.sqrt(len(figures))) if len(figures) > 1 else float("inf")
        return cls(key=key, mean=float(figures.mean()), error=error, listeners=len(figures), by_chance=by_chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """Facts on a version to be published and on the served one (`facts.facts_of` reads them).

    Args:
        manifest: manifest of the version.
        norms: least and greatest length of any vector of a content or a listener; null: not measured.
        drift: contents of `drift.json` on the map onto the space of the served version; null: there is none.
        champion: manifest of the served version; null on the first night.
        vanished: share of the ids of the served version that are gone, by `contents` and `listeners`; null on the first
            night.
    """

    manifest: Mapping[str, Any]
    norms: tuple[float, float] | None = None
    drift: Mapping[str, Any] | None = None
    champion: Mapping[str, Any] | None = None
    vanished: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Canaries:
    """Results of the requests that a version was sent in the real server before it serves.

    Args:
        asked: number of requests.
        failed: requests without an answer, or with an error.
        overlap: mean overlap of its lists with the champion's, from 0 to 1; null on the first night.
        faults: a line for each limit of `canaries` that it breaks.
    """

    asked: int
    failed: int
    overlap: float | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All evidence that the rules of a gate may use.

    Args:
        stage: stage that the night has reached; rules of later stages say "not yet", others refuse where something is
            missing.
        twin: tonight's twin; null before it is trained.
        champion: twin of the served version, on the same window; null on the first night alone.
        is_first_night: whether nothing has been published yet: rules that need a champion then do not apply.
        is_adopted: whether no night published the served version, so that its twin's earlier metrics are unknown.
        baselines: evaluations by the ranker's name, on the same window.
        main_metric: key of the metric that decides, such as `recall@20`.
        data: verdict of the data profile of tonight's store.
        reached: metrics of the champion's twin on the night it was judged.
        days: days from the end of the champion's data to the end of tonight's; at least 1.
        refit: exported run on the same window, which it was trained on, so that this shows only whether it is sound;
            from the stage `export` on.
        exported: facts on the export; from the stage `export` on.
        canaries: results of the canaries; from the stage `served` on.
        more: page or command with more, for readers of a refusal.
    """

    stage: Stage
    twin: Judged | None = None
    champion: Judged | None = None
    is_first_night: bool
    is_adopted: bool = False
    baselines: Mapping[str, Evaluation] = field(default_factory=dict)
    main_metric: str = "recall@20"
    data: DataVerdict | None = None
    reached: Reached | None = None
    days: float = 1.0
    refit: Judged | None = None
    exported: Exported | None = None
    canaries: Canaries | None = None
    more: str = ""

    def __post_init__(self):
        if self.is_first_night and self.champion is not None:
            raise ValueError("on the first night no version serves, so there is no champion to compare with")

    @property
    def challenger(self) -> Judged:
        """Tonight's twin.

        Raises:
            Lacking: it was not evaluated.
        """
        if self.twin is None:
            raise Lacking("tonight's twin was not evaluated")
        return self.twin

    @property
    def served(self) -> Judged:
        """The champion's twin.

        Raises:
            Lacking: there is none though it is not the first night.
        """
        if self.champion is None:
            raise Lacking("the champion's twin was not evaluated: its run or its store is gone")
        return self.champion

    def has_come_to(self, stage: Stage) -> bool:
        """Returns whether the night has reached a stage."""
        return STAGES.index(self.stage) >= STAGES.index(stage)
