"""Settings by which vectors are evaluated: in training, in an evaluation, and before an export is published."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from towers.config.instantiate import value
from towers.errors import UserError
from towers.evaluation.harness import evaluate
from towers.evaluation.ranking.rankers import Ranker
from towers.evaluation.ranking.vectors import VectorRanker
from towers.evaluation.task import EvaluationTask
from towers.training.torch_ranker import TorchRanker
from towers.training.validation import Judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """Settings of an evaluation that all rankers share.

    Args:
        filter_seen: whether the slice `all` leaves out contents that the listener has heard.
        ks: lengths of the lists that are judged by hits.
        min_users: least number of listeners for which a slice gets figures.

    Raises:
        UserError: a list length or a number of listeners is below 1.
    """

    filter_seen: bool
    ks: tuple[int, ...]
    min_users: int

    def __post_init__(self) -> None:
        if not self.ks or min(self.ks) < 1:
            raise UserError(f"evaluation.ks={list(self.ks)}: needs lengths of at least 1")
        if self.min_users < 1:
            raise UserError(f"evaluation.min_users={self.min_users}: must be at least 1")

    def as_keywords(self) -> dict[str, Any]:
        """Returns the settings as keyword arguments of `evaluation.harness.evaluate`."""
        return asdict(self)

    def judge(self, task: EvaluationTask) -> Judge:
        """Returns a function that computes the metrics of vectors of the task's listeners and contents."""
        ranker, settings = vector_ranker(), self.as_keywords()

        def judge(users: np.ndarray, contents: np.ndarray) -> dict[str, float]:
            return evaluate(task, ranker(task, "towers", users, contents), **settings).means()

        return judge


def judging_of(config: DictConfig) -> Judging:
    """Reads the settings from the group `evaluation`.

    Raises:
        UserError: a value of another type, or as for `Judging`.
    """
    return Judging(
        filter_seen=value(config, "evaluation.filter_seen", bool),
        ks=value(config, "evaluation.ks", tuple[int, ...]),
        min_users=value(config, "evaluation.min_users", int),
    )


def vector_ranker() -> Callable[..., Ranker]:
    """Returns a function that makes a ranker from task, name, listeners' and contents' vectors; on the GPU if there is
    one."""
    if torch.cuda.is_available():
        return partial(TorchRanker, device=torch.device("cuda"))
    return VectorRanker
