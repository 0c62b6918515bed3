"""Events of OpenLineage on the begin and end of runs; needs openlineage-python."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openlineage.client.event_v2 import Job, RunEvent, RunState
from openlineage.client.event_v2 import Run as LineageRun
from openlineage.client.facet_v2 import (
    error_message_run,
    job_type_job,
    nominal_time_run,
    parent_run,
    processing_engine_run,
)
from openlineage.client.uuid import generate_new_uuid

from towers.extras import code_version
from towers.lifecycle.watching.lineage_datasets import Datasets, told_by
from towers.lifecycle.watching.night_state import NightState, StepName
from towers.secrets import masked


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a job.

    Args:
        id: id of the run, a UUID.
        job: name of the job.
        kind: kind of the job: `JOB` for a command, `TASK` for a part of it.
        parent: run that it is a part of; null: none.
    """

    id: str
    job: str
    kind: str
    parent: "Run | None" = None


class Lineage:
    """Makes events.

    Args:
        namespace: namespace of the jobs.
        nominal: time for which a scheduler started the night; null: unknown.

    Attributes:
        datasets: describes data sets.
    """

    def __init__(self, namespace: str, nominal: datetime | None):
        self._namespace, self._nominal, self._version = namespace, nominal, code_version()
        self._producer = f"pkg:generic/towers@{self._version}"
        self.datasets = Datasets(self._producer)

    def run(self, job: str, kind: str, parent: Run | None = None) -> Run:
        """Returns a new run of a job."""
        return Run(str(generate_new_uuid()), job, kind, parent)

    def started(self, run: Run, when: datetime, inputs: Iterable[Any] = ()) -> RunEvent:
        """Returns the event of a run's begin."""
        return self._event(run, RunState.START, when, inputs, (), {})

    def ended(
        self, run: Run, ends: str, when: datetime, inputs: Iterable[Any], outputs: Iterable[Any], error: str | None
    ) -> RunEvent:
        """Returns the event of a run's end.

        Args:
            run: run that has ended.
            ends: COMPLETE, FAIL or ABORT.
            when: time of the end.
            inputs: data sets that it has read.
            outputs: data sets that it has made.
            error: error that ended it, in one line; null: none.
        """
        facets: dict[str, Any] = {}
        if error is not None:
            facet = error_message_run.ErrorMessageRunFacet(message=masked(error), programmingLanguage="PYTHON")
            facets["errorMessage"] = told_by(facet, self._producer)
        return self._event(run, RunState[ends], when, inputs, outputs, facets)

    def of_step(self, step: StepName, state: NightState, is_whole: bool) -> tuple[Sequence[Any], Sequence[Any]]:
        """Returns the data sets that a step reads and those that it makes, as far as they are known.

        Args:
            step: name of the step.
            state: state of the night at the step's end.
            is_whole: whether it has completed its outputs.
        """
        read, written = self.datasets.read, self.datasets.written
        raw = [] if state.root is None else [self.datasets.raw(state.root)]
        store, twin = _there(state.store), _there(state.twin)
        refit, export = _there(state.refit), _there(state.export)
        match step:
            case "prepare":
                return raw, [written(each) for each in store if is_whole]
            case "twin":
                inputs = [*store, *_there(state.rival_twin)]
                return [read(each) for each in inputs], [written(each) for each in twin if is_whole]
            case "evaluation":
                inputs = [*store, *twin, *_there(state.rival_twin)]
                return [read(each) for each in inputs], [written(each) for each in _there(state.evaluation) if is_whole]
            case "refit":
                return [read(each) for each in (*store, *twin)], [written(each) for each in refit if is_whole]
            case "export":
                before = _there(None if state.served_before is None else state.served_before.folder)
                inputs = [*store, *refit, *before]  # the version is aligned to the space of the one that served
                return [read(each) for each in inputs], [written(each) for each in export if is_whole]
            case _ if state.ending == "late":
                return [read(each) for each in export], []
            case _:
                version = export or _there(None if state.serving is None else state.serving.folder)
                return [read(each) for each in version], self.led_to(state) if is_whole else []

    def led_to(self, state: NightState) -> Sequence[Any]:
        """Returns the data set that readers are led to; empty where there is none."""
        return [] if state.serving is None else [self.datasets.current(state.serving.folder)]

    def judged(self, state: NightState) -> Sequence[Any]:
        """Returns what the gate judged: the export, the twin and the store, as far as they exist; the first of them
        carries the verdict."""
        there = [*_there(state.export), *_there(state.twin), *_there(state.store)]
        return [self.datasets.read(each, None if place else state.record) for place, each in enumerate(there)]

    def _event(
        self,
        run: Run,
        state: RunState,
        when: datetime,
        inputs: Iterable[Any],
        outputs: Iterable[Any],
        facets: dict[str, Any],
    ) -> RunEvent:
        told: dict[str, Any] = {
            "processing_engine": processing_engine_run.ProcessingEngineRunFacet(version=self._version, name="towers")
        }
        if run.parent is not None:
            told["parent"] = parent_run.ParentRunFacet(
                run=parent_run.Run(runId=run.parent.id),
                job=parent_run.Job(namespace=self._namespace, name=run.parent.job),
            )
        elif self._nominal is not None:
            told["nominalTime"] = nominal_time_run.NominalTimeRunFacet(nominalStartTime=self._nominal.isoformat())
        kind = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="TOWERS", jobType=run.kind)
        facets = {name: told_by(facet, self._producer) for name, facet in told.items()} | facets
        return RunEvent(
            eventType=state,
            eventTime=when.astimezone(UTC).isoformat(),
            run=LineageRun(runId=run.id, facets=facets),
            job=Job(namespace=self._namespace, name=run.job, facets={"jobType": told_by(kind, self._producer)}),
            inputs=list(inputs),
            outputs=list(outputs),
            producer=self._producer,
        )


def _there(folder: Path | None) -> tuple[Path, ...]:
    """Returns the folder if it exists: pruning may already have removed it."""
    return (folder,) if folder is not None and folder.exists() else ()
