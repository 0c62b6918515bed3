"""Tables and figures that a night shows, made from the files that it has left. Does not import wandb."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from towers.data.profiling.files import FILE as PROFILE
from towers.data.profiling.verdict import Verdict
from towers.evaluation.report.training_rows import training_rows
from towers.evaluation.result import metric_key, split_key
from towers.lifecycle.record import Record
from towers.lifecycle.watching.night_state import NightState
from towers.manifest import read_json
from towers.retrieval.export import Export
from towers.retrieval.files import DRIFT
from towers.retrieval.mixing import listeners_against
from towers.retrieval.projection_2d import even_sample
from towers.retrieval.query import Query
from towers.retrieval.show import title_card

MOST_POINTS = 1_000
"""Most points of a curve that are shown, evenly spaced; the training's own run and its CSV have all."""
CHOSEN = 5
"""Most titles shown of a listener's last choices."""
FINDINGS = ("rule", "severity", "text", "figures")
GATE = ("rule", "status", "words", "figures", "limit", "lower", "upper")
SAMPLE = ("listener", "lately chosen", "rank", "title", "artists", "kind", "score", "chance")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A table.

    Args:
        columns: names of the columns.
        rows: cells in the order of the columns: texts, numbers and null.
    """

    columns: tuple[str, ...]
    rows: list[list[Any]]


def summary_of(state: NightState) -> dict[str, Any]:
    """Returns the figures and words that runs are compared by; unknown ones are left out."""
    found: dict[str, Any] = {"ending": state.ending, "why": state.why, "seconds": state.seconds}
    if (record := state.record) is not None:
        names = ("night", "version", "data_end", "space_id", "space_told")
        found |= {name: getattr(record, name) for name in names}
        found |= {f"metrics/{key}": figure for key, figure in record.metrics.items()}
        found["smallest_loss"] = record.verdict.get("smallest_loss")
        found["refused_by"] = ", ".join(record.verdict.get("refused", ())) or None
    found["rival"] = state.rival
    found["serving"] = None if state.serving is None else state.serving.version
    for step in state.steps:
        found[f"seconds/{step.name}"] = step.seconds
        for name, rows in step.facts.get("rows", {}).items():
            found[f"rows/{name}"] = rows
    return {name: each for name, each in found.items() if each is not None}


def profile_figures(store: Path) -> dict[str, Any]:
    """Returns the figures of a store's profile and the level of its verdict; empty where there is no profile."""
    path = store / PROFILE
    if not path.exists():
        return {}
    profile = read_json(path)
    parts = {
        name: profile[name] for name in ("counts", "actions", "kinds", "contents_by_kind", "rates") if profile[name]
    }
    return {f"profile/{name}": figure for name, figure in figures_of(parts)} | {
        "profile/level": profile["verdict"]["level"],
        "profile/compared_with": profile["verdict"]["compared_with"] or "nothing",
    }


def findings(store: Path) -> Rows | None:
    """Returns the findings of the verdict on a store's data, compared with the store prepared before; null where there
    is no profile. Findings by comparison with the served version's data are in the gate's table."""
    path = store / PROFILE
    if not path.exists():
        return None
    verdict = Verdict.from_json(read_json(path)["verdict"], str(path))
    return Rows(
        columns=FINDINGS,
        rows=[[one.rule, one.severity, one.text, json.dumps(one.figures, default=str)] for one in verdict.findings],
    )


def gate_rows(record: Record) -> Rows | None:
    """Returns the outcome of each rule; null where the gate was not asked."""
    outcomes = record.verdict.get("outcomes")
    if not outcomes:
        return None
    return Rows(
        columns=GATE,
        rows=[
            [one["rule"], one["status"], one["words"], json.dumps(one["figures"]), _figure(one["limit"]),
             *(map(_figure, one["interval"] or (None, None)))]
            for one in outcomes
        ],
    )  # fmt: skip


def drift_figures(export: Path) -> dict[str, Any]:
    """Returns the measurements of the map onto the space that served; empty for a first version."""
    path = export / DRIFT
    return {f"drift/{name}": figure for name, figure in figures_of(read_json(path))} if path.exists() else {}


def slice_rows(means: Mapping[str, Mapping[str, float]], main_metric: str) -> Rows | None:
    """Returns the main metric by slice, of tonight's twin, the champion's and the baselines; null where none was
    measured."""
    if not means:
        return None
    metric, _ = split_key(main_metric)
    slices = dict.fromkeys(name for own in means.values() for name in _slices(own, metric))
    return Rows(
        columns=("slice", *means),
        rows=[[name, *(own.get(metric_key(metric, name)) for own in means.values())] for name in slices],
    )


def curve(run: Path, metrics: Sequence[str]) -> list[dict[str, float]]:
    """Returns the points of a training's curves; each has `step`. Only some metrics of validation are shown: the
    training's own run has hundreds.

    Args:
        run: folder of the training.
        metrics: keys to show.
    """
    rows = training_rows(run / "metrics.csv")
    shown = {f"validation/{key}" for key in metrics}
    points = [
        {name: figure for name, figure in rows[place].items() if "@" not in name or name in shown}
        for place in even_sample(len(rows), MOST_POINTS).tolist()
    ]
    return [point for point in points if "step" in point and len(point) > 1]


def recommended(export: Export, users: Sequence[int], k: int) -> Rows:
    """Returns what some listeners chose last, and their recommendations.

    A listener is named by the place in the version, which does not identify them: only the version's files can, and
    these never leave the machine.

    Args:
        export: export of the night.
        users: rows of the listeners.
        k: number of recommendations of each listener.
    """
    asked, query = listeners_against(export, export), Query(k=k)
    rows: list[list[Any]] = []
    for user in users:
        last = dict.fromkeys(asked.chosen(user)[::-1].tolist())  # repeated choices are listed once
        lately = [title_card(export, row)[0] for row in [*last][:CHOSEN]]
        found = asked.recommend(user, query)
        for rank, (row, score) in enumerate(zip(found.rows.tolist(), found.scores.tolist(), strict=True), start=1):
            title, artists, kind, _, _ = title_card(export, row)
            chance = None if found.chances is None else float(found.chances[rank - 1])
            rows.append([user, "; ".join(lately), rank, title, artists, kind, score, chance])
    return Rows(columns=SAMPLE, rows=rows)


def figures_of(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float | str]]:
    """Yields all numbers, booleans and texts of nested JSON values, with their path of keys."""
    for name, each in value.items():
        if isinstance(each, Mapping):
            yield from figures_of(each, f"{before}{name}/")
        elif isinstance(each, (bool, int, float, str)):
            yield f"{before}{name}", each


def _slices(means: Mapping[str, float], metric: str) -> Iterator[str]:
    for key in means:
        own, name = split_key(key)
        if own == metric:
            yield name


def _figure(value: Any) -> float | None:
    """Parses a number: JSON has text for a number that is not finite."""
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None
