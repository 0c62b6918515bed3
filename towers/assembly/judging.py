"""How vectors are judged, wherever that is done: while training, in an evaluation, before an export is published."""

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
    """What the harness wants to know.

    Args:
        filter_seen: whether the slice `all` leaves out what the listener has heard.
        ks: lengths of the lists judged by hits.
        min_users: listeners below which a slice gets no figure.

    Raises:
        UserError: a list of no length, or a slice of no listener.
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
        """Gives the settings as the keyword arguments of `evaluation.harness.evaluate`."""
        return asdict(self)

    def judge(self, task: EvaluationTask) -> Judge:
        """Metrics of vectors of the task's listeners and contents."""
        ranker, settings = vector_ranker(), self.as_keywords()

        def judge(users: np.ndarray, contents: np.ndarray) -> dict[str, float]:
            return evaluate(task, ranker(task, "towers", users, contents), **settings).means()

        return judge


def judging_of(config: DictConfig) -> Judging:
    """Reads the settings from the group `evaluation`.

    Raises:
        UserError: a value of another type, and as `Judging`.
    """
    return Judging(
        filter_seen=value(config, "evaluation.filter_seen", bool),
        ks=value(config, "evaluation.ks", tuple[int, ...]),
        min_users=value(config, "evaluation.min_users", int),
    )


def vector_ranker() -> Callable[..., Ranker]:
    """Makes a ranker of vectors (task, name, listeners' vectors, contents'): on the GPU where there is one."""
    if torch.cuda.is_available():
        return partial(TorchRanker, device=torch.device("cuda"))
    return VectorRanker
