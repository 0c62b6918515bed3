"""Refuses monitored metrics that validation will not give, before the first step instead of after the first epochs."""

from collections.abc import Sequence

import numpy as np
from pytorch_lightning.callbacks import Callback, StochasticWeightAveraging

from towers.assembly.judging import Judging
from towers.errors import UserError
from towers.evaluation.result import split_key
from towers.evaluation.task import EvaluationTask
from towers.training.validation import Judge


def check_monitor(monitor: str, measured: set[str], task: EvaluationTask, judging: Judging) -> None:
    """Raises `UserError` where `trainer.monitor` names a metric that is not measured."""
    if monitor not in measured:
        metrics = {split_key(name.removeprefix("validation/"))[0] for name in measured}
        metric = split_key(monitor.removeprefix("validation/"))[0]
        if metrics and metric not in metrics:
            raise UserError(
                f"trainer.monitor={monitor}: validation measures no {metric} with evaluation.ks="
                f"{list(judging.ks)}; add its length to evaluation.ks, or choose one of {', '.join(sorted(metrics))}"
            )
        slices = sorted({split_key(name.removeprefix("validation/"))[1] for name in measured})
        raise UserError(
            f"trainer.monitor={monitor}: validation has {len(task.user_rows)} listeners with a target, enough for the "
            f"slices {', '.join(slices) or '(none)'}; choose a metric of these, or lower evaluation.min_users="
            f"{judging.min_users}"
        )


def check_callbacks(callbacks: Sequence[Callback], measured: set[str]) -> None:
    """Refuses a callback that would have no effect, and one of Lightning's that monitors a metric that is not measured.

    Lightning would report the latter only after the first epoch. Other callbacks may log the metrics that they monitor.

    Args:
        callbacks: the caller's callbacks.
        measured: names of the metrics of validation; empty where nothing is validated.
    """
    if any(isinstance(one, StochasticWeightAveraging) for one in callbacks):
        raise UserError(
            "trainer.callbacks: StochasticWeightAveraging acts after the last checkpoint, so nothing would come of "
            "it; EMAWeightAveraging with use_buffers=false is validated and saved"
        )
    watched = [(type(one).__name__, name) for one in callbacks if (name := getattr(one, "monitor", None)) is not None]
    if not watched or not all(type(one).__module__.startswith("pytorch_lightning.") for one in callbacks):
        return
    for callback, name in watched:
        if name not in measured and not name.startswith("audio/"):
            raise UserError(
                f"trainer.callbacks: {callback} watches {name}, which nothing here gives; "
                + (
                    f"give it a monitor such as {min(measured)}"
                    if measured
                    else "only train_until=validation validates"
                )
            )


def measured_by(judge: Judge | None, task: EvaluationTask) -> set[str]:
    """Returns the names of the metrics of a validation; empty without a judge."""
    if judge is None:
        return set()
    vectors = np.zeros((len(task.user_rows), 1)), np.zeros((task.num_contents, 1))
    return {f"validation/{name}" for name in judge(*vectors)}
