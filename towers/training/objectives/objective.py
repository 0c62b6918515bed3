"""The interface of objectives: losses of states that predict targets among candidates.

An objective needs no towers, stores or optimisers.
"""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from towers.batch import MicroBatch, TrainingBatch
from towers.data.training_batches import CandidateSampler


class Objective(nn.Module, ABC):
    """A loss over candidates. Its own parameters and buffers are trained and saved with the network.

    The loss is a sum over targets, and a target's term depends only on its own state and the contents' vectors, so a
    step may be cut into micro-batches and ranks in any way, and its gradient stays the same.
    """

    candidates: CandidateSampler
    num_rejections: int = 0
    """Maximum number of rejected contents that the objective needs with every target."""
    mask_unavailable: bool = False
    """True if the objective needs the times of targets, and since when candidates exist."""

    def observe(self, batch: TrainingBatch) -> Float[Tensor, " candidates"]:
        """Takes a training step's batch; called once before each step on every rank. Contents, candidates and
        `target_rows` are the same on all ranks, `micro_batches` are not: a state may depend only on the former.

        Returns:
            The log-probability of each candidate to be among the candidates, for `forward`.
        """
        return batch.candidate_log_q

    @abstractmethod
    def forward(
        self,
        states: Float[Tensor, "targets dim"],
        content_vectors: Float[Tensor, "contents dim"],
        log_q: Float[Tensor, " candidates"],
        micro_batch: MicroBatch,
    ) -> Float[Tensor, ""]:
        """Returns the weighted sum of the targets' losses.

        Args:
            states: unit vectors of the listener at each of the micro-batch's targets.
            content_vectors: unit vectors of the step's contents; the first `candidates` of them are the candidates.
            log_q: result of `observe`.
            micro_batch: micro-batch with the targets; `targets.index` points into `content_vectors`.
        """

    def logged(self) -> dict[str, Tensor]:
        """Returns scalars to log, by name."""
        return {}
