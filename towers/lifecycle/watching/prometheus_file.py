"""Metrics file for the textfile collector of Prometheus' node exporter: how the last night went, and what serves.

Values that a night does not know, such as the last success, stay as the file has them; where there is no file, they are
taken from the data set's records as far as these know them.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from towers.disk import check_writable
from towers.errors import UserError
from towers.evaluation.result import split_key
from towers.extras import how_to_install
from towers.lifecycle.ledger import Ledger
from towers.lifecycle.record import Record
from towers.lifecycle.watching.night_state import ENDINGS, WELL, NightState, Step, utc
from towers.lifecycle.watching.watcher import Watcher
from towers.manifest import atomic_file

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

READABLE: Final = 0o644
"""Mode of the file: the exporter runs as another user."""
Samples = dict[tuple[str, ...], float]
"""Values of one metric by its labels, without the label `data`."""


class Metric(NamedTuple):
    """A metric's help text, and its labels beside `data`."""

    told: str
    labels: tuple[str, ...] = ()


METRICS: Final[Mapping[str, Metric]] = {
    "towers_night_last_success_timestamp_seconds": Metric(
        "Time at which a night last ended with exit code 0: it published, or there was nothing to publish."
    ),
    "towers_night_last_start_timestamp_seconds": Metric("Time at which the last night began."),
    "towers_night_last_end_timestamp_seconds": Metric("Time at which a night last ended, well or not."),
    "towers_night_running": Metric("1 while a night runs, 0 otherwise; it stays 1 after a process that was killed."),
    "towers_night_ending": Metric("1 for the way in which the last night ended, 0 for all others.", ("ending",)),
    "towers_night_duration_seconds": Metric("How long the last night took that has ended."),
    "towers_night_step_duration_seconds": Metric(
        "How long each step took of the night that began last, as far as it has come.", ("step",)
    ),
    "towers_night_metric": Metric(
        "Means over listeners of the judged twin of the last night that was evaluated.", ("metric", "slice")
    ),
    "towers_gate_passed": Metric("1 if the gate let the last judged night go on, forced or not; 0 if it refused it."),
    "towers_gate_forced": Metric("1 if the gate was overruled for the last judged night, 0 otherwise."),
    "towers_gate_rule_passed": Metric(
        "0 for each rule that refused the last judged night, 1 for each that did not; absent if it was not asked.",
        ("rule",),
    ),
    "towers_store_rows": Metric("Rows of the store that was prepared last.", ("table",)),
    "towers_store_rejected_rows": Metric("Rows that the last preparation refused.", ("table",)),
    "towers_store_duplicate_rows": Metric("Rows that the last preparation left out as duplicates.", ("table",)),
    "towers_serving_info": Metric("1 for the version that serves; absent where none does.", ("version", "space_id")),
    "towers_serving_data_end_timestamp_seconds": Metric("Time of the last event that the version that serves knows."),
    "towers_serving_since_timestamp_seconds": Metric("Time at which the version that serves began to serve."),
    "towers_serving_age_seconds": Metric(
        "Age of the data of the version that serves when this file was written. Its present age is "
        "time() - towers_serving_data_end_timestamp_seconds."
    ),
}  # fmt: skip


class PrometheusFile(Watcher):
    """Writes the file when a night begins, after each of its steps, at its end, and after a rollback.

    Args:
        path: path of the file, which ends in `.prom`, in the folder of the node exporter's textfile collector; null:
            nothing is written.
    """

    def __init__(self, path: str | None):
        self._path = None if path is None else Path(path)
        self._data: str | None = None  # name of the data set, once it is known

    @property
    def is_on(self) -> bool:
        """Returns whether a path is given."""
        return self._path is not None

    def check(self) -> None:
        """Checks that the exporter will find the file, that it can be written, and that it does not belong to another
        data set."""
        key, path = f"watchers.prometheus.path={self._path}", self._path
        if find_spec("prometheus_client") is None:
            raise UserError(f"{key}: needs prometheus-client: {how_to_install('train')}")
        if path is None:
            return
        if path.suffix != ".prom":
            raise UserError(f"{key}: the collector reads only files that end in .prom; give it such a name")
        if not path.parent.is_dir():
            raise UserError(f"{key}: no folder {path.parent}; make it (node_exporter --collector.textfile.directory)")
        check_writable("watchers.prometheus.path", path.parent)
        self._samples()

    def ready(self, state: NightState) -> None:
        """Notes the name of the data set."""
        self._data = state.data

    def begun(self, state: NightState) -> None:
        """Writes that a night runs; values of the night before stay, except those of its steps."""
        kept = self._kept(state)
        kept["towers_night_running"] = {(): 1.0}
        kept["towers_night_last_start_timestamp_seconds"] = {(): state.started.timestamp()}
        kept["towers_night_step_duration_seconds"] = {}
        self._write(state, kept)

    def step_ended(self, state: NightState, step: Step) -> None:
        """Writes the duration of the step, and its results."""
        self._write(state, self._kept(state) | _of_night(state))

    def ended(self, state: NightState) -> None:
        """Writes how the night has ended."""
        kept = self._kept(state) | _of_night(state)
        kept["towers_night_running"] = {(): 0.0}
        kept["towers_night_duration_seconds"] = {(): state.seconds}
        kept["towers_night_ending"] = {(ending,): float(ending == state.ending) for ending in ENDINGS}
        if state.ended is not None:
            kept["towers_night_last_end_timestamp_seconds"] = {(): state.ended.timestamp()}
            if state.ending in WELL:
                kept["towers_night_last_success_timestamp_seconds"] = {(): state.ended.timestamp()}
        self._write(state, kept)

    def put_back(self, state: NightState) -> None:
        """Writes which version serves; all other values stay."""
        self._write(state, self._kept(state))

    def _kept(self, state: NightState) -> dict[str, Samples]:
        """Returns the values of the file, or those of the data set's records where there is no file."""
        self._data = state.data
        kept = self._samples()
        if not kept.get("towers_night_last_success_timestamp_seconds"):
            with suppress(UserError):  # the night itself reports an unreadable record
                kept |= _of_records(Ledger(folder=state.nights, exports=state.nights, runs=state.runs).records())
        return kept

    def _samples(self) -> dict[str, Samples]:
        """Returns the values of the file; empty where there is none that can be read.

        Raises:
            UserError: it belongs to another data set, whose last success would be lost.
        """
        try:
            text = "" if self._path is None else self._path.read_text()
        except (OSError, UnicodeDecodeError):
            text = ""
        found = _read(text)
        others = [] if self._data is None else sorted(found.keys() - {self._data})
        if others:
            raise UserError(
                f"watchers.prometheus.path={self._path}: holds the samples of the data set {others[0]}; give each "
                "its own ('.../towers-${data.name}.prom'), or remove this one"
            )
        return found.get(self._data or "", {})

    def _write(self, state: NightState, samples: Mapping[str, Samples]) -> None:
        """Writes the file atomically, and readable for the exporter from the start."""
        from prometheus_client import write_to_textfile

        if self._path is None:
            return
        registry = _registry(state.data, {**samples, **_of_serving(state)})
        with atomic_file(self._path) as temporary:  # in the same folder; its name does not end in .prom
            write_to_textfile(str(temporary), registry)
            temporary.chmod(READABLE)


def _registry(data: str, samples: Mapping[str, Samples]) -> "CollectorRegistry":
    from prometheus_client import CollectorRegistry, Gauge

    registry = CollectorRegistry()
    for name, metric in METRICS.items():
        if found := samples.get(name):
            gauge = Gauge(name, metric.told, ("data", *metric.labels), registry=registry)
            for labels, number in sorted(found.items()):
                gauge.labels(data, *labels).set(number)
    return registry


def _read(text: str) -> dict[str, dict[str, Samples]]:
    """Parses the text of a file; returns its samples by data set, none where it cannot be parsed."""
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, dict[str, Samples]] = {}
    try:
        for family in text_string_to_metric_families(text):
            metric = METRICS.get(family.name)
            if metric is None:
                continue
            for sample in family.samples:
                labels = tuple(sample.labels[label] for label in metric.labels)
                found.setdefault(sample.labels["data"], {}).setdefault(family.name, {})[labels] = sample.value
    except (KeyError, ValueError, IndexError):
        return {}
    return found


def _of_records(records: list[Record]) -> dict[str, Samples]:
    """Returns when a night last succeeded: only such nights have a recorded end."""
    ends = [end.timestamp() for record in records if (end := utc(record.ended)) is not None]
    return {"towers_night_last_success_timestamp_seconds": {(): max(ends)}} if ends else {}


def _of_night(state: NightState) -> dict[str, Samples]:
    """Returns the results of tonight's steps so far; others are absent."""
    done = [step for step in state.steps if step.ended is not None]
    found: dict[str, Samples] = {
        "towers_night_step_duration_seconds": {(step.name,): step.seconds for step in done},
    }
    rows: Mapping[str, Any] = next((step.facts["rows"] for step in done if "rows" in step.facts), {})
    if rows:
        found |= _of_rows(rows)
    record = state.record
    if record is None:
        return found
    if record.metrics:
        found["towers_night_metric"] = {split_key(key): figure for key, figure in record.metrics.items()}
    if record.verdict:
        said = {
            (each["rule"],): float(each["status"] != "refused")
            for each in record.verdict.get("outcomes", ())
            if each["status"] != "not yet"
        }
        found["towers_gate_passed"] = {(): float(record.verdict["passed"])}
        found["towers_gate_forced"] = {(): float(record.verdict.get("forced") is not None)}
        found["towers_gate_rule_passed"] = said
    return found


_TABLES: Final = ("events", "users", "contents", "playlists", "impressions", "positives", "sounds")


def _of_rows(counts: Mapping[str, Any]) -> dict[str, Samples]:
    """Divides the counts of a store among metrics."""
    kinds = {
        "towers_store_rows": "",
        "towers_store_rejected_rows": "rejected_",
        "towers_store_duplicate_rows": "duplicate_",
    }
    return {
        name: {(table,): float(counts[f"{prefix}{table}"]) for table in _TABLES if f"{prefix}{table}" in counts}
        for name, prefix in kinds.items()
    }


def _of_serving(state: NightState) -> dict[str, Samples]:
    """Returns facts on the served version; empty metrics where none serves, so that no former values stay."""
    serving = state.serving
    info, end, since, age = (name for name in METRICS if name.startswith("towers_serving_"))
    if serving is None:
        return {info: {}, end: {}, since: {}, age: {}}
    known = serving.data_end
    return {
        info: {(serving.version, serving.space_id): 1.0},
        end: {} if known is None else {(): known.timestamp()},
        since: {} if serving.since is None else {(): serving.since.timestamp()},
        age: {} if known is None else {(): (datetime.now(UTC) - known).total_seconds()},
    }
