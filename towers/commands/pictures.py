"""The page of an evaluation, and its charts beside the training's curves where those went."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from omegaconf import DictConfig

from towers.assembly import Run
from towers.commands.subject import Subject
from towers.evaluation.honesty import Check
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.report.data_profile import data_profile
from towers.evaluation.report.drawing import png
from towers.evaluation.report.figures import figures
from towers.evaluation.report.page import write_page
from towers.evaluation.report.pieces import Report, build_report
from towers.evaluation.report.training_rows import training_rows
from towers.evaluation.result import Evaluation
from towers.manifest import environment
from towers.training.loggers import log_images

WANDB = "towers.training.loggers.wandb_logger"


def draw_page(
    config: DictConfig,
    subject: Subject,
    protocol: EvaluationProtocol,
    evaluations: Sequence[Evaluation],
    contents: Float[np.ndarray, "contents dim"],
    checks: Sequence[Check],
    target: Path,
) -> None:
    """Writes report.html below `target`; the charts go to Weights & Biases too where the training did."""
    store = protocol.store
    report = build_report(
        title=f"{config.name}: {subject.name}",
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
        main_metric=config.evaluation.main_metric,
    )
    write_page(report, target / "report.html")
    if isinstance(subject.vectors, Run):
        _log(report, subject.vectors)


def _log(report: Report, run: Run) -> None:
    logger = run.config.logger
    if logger.get("_target_") == WANDB:
        images = {name: png(figure) for name, figure in figures(report).items()}
        log_images(run.folder, f"{run.config.name}/{run.folder.name}", logger.project, images)
