"""The page of an evaluation, and its charts in Weights & Biases."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from towers.assembly.run import Run
from towers.assembly.subject import Subject
from towers.config.composing import config_of_run
from towers.evaluation.checks.honesty import Check
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.report.data_profile import data_profile
from towers.evaluation.report.drawing import png
from towers.evaluation.report.figures import figures
from towers.evaluation.report.pieces import Report, build_report
from towers.evaluation.report.training_rows import training_rows
from towers.evaluation.result import Evaluation
from towers.manifest import environment
from towers.training.wandb_runs import log_images


def report_of(
    subject: Subject,
    protocol: EvaluationProtocol,
    evaluations: Sequence[Evaluation],
    contents: Float[np.ndarray, "contents dim"],
    checks: Sequence[Check],
    tuning: Mapping[str, Any],
    main_metric: str,
) -> Report:
    """Collects what the page shows."""
    store = protocol.store
    return build_report(
        title=subject.title,
        period=protocol.period,
        task=protocol.task,
        evaluations=evaluations,
        contents=store.contents,
        content_vectors=contents,
        user_ids=store.user_ids,
        profile=data_profile(store),
        config=subject.config,
        environment=environment(),
        training=training_rows(subject.folder / "metrics.csv"),
        checks=checks,
        tuning=tuning,
        main_metric=main_metric,
    )


def log_pictures(report: Report, subject: Subject) -> None:
    """Logs the charts to the training's run in Weights & Biases, if it has one."""
    run = subject.vectors
    if isinstance(run, Run) and (place := _place_of(run.folder)) is not None:
        images = {name: png(figure) for name, figure in figures(report).items()}
        log_images(run.folder, f"{run.name}/{run.folder.name}", place, images)


def _place_of(folder: Path) -> dict[str, Any] | None:
    """Returns the project, group and job type in Weights & Biases that a run's training was logged to; null where it
    was not logged there."""
    logger = config_of_run(folder).logger
    if "project" not in logger or not (folder / "wandb").is_dir():
        return None
    return {"project": logger.project, "group": logger.get("group"), "job_type": logger.get("job_type")}
