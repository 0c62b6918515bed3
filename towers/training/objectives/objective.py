"""How well states predict targets among candidates. Knows nothing of towers, stores or optimisers."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from towers.batch import MicroBatch, TrainingBatch
from towers.data.training_batches import CandidateSampler


class Objective(nn.Module, ABC):
    """A loss over candidates. Parameters and buffers of its own are trained and saved with the network.

    The loss is a sum over targets, and a target's share depends on nothing but its own state and the contents' vectors:
    so a step may be cut into micro-batches and ranks at will, and its gradient stays the same.
    """

    candidates: CandidateSampler
    num_rejections: int = 0
    """Contents turned down that it wants to hear of with every target, at most."""
    mask_unavailable: bool = False
    """Whether it wants to know when targets happened, and since when candidates have been there."""

    def observe(self, batch: TrainingBatch) -> Float[Tensor, " candidates"]:
        """Called once before each step of training, on all ranks alike: sees what the step holds.

        Returns:
            The logarithm of each candidate's probability to be among the candidates, for `forward`.
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
        """The weighted sum of the targets' losses.

        Args:
            states: unit vectors of the listener, for each of the micro-batch's targets.
            content_vectors: unit vectors of the step's contents; the first `candidates` of them are the candidates.
            log_q: as `observe` gave it.
            micro_batch: whose targets; `targets.index` points into `content_vectors`.
        """

    def logged(self) -> dict[str, Tensor]:
        """What of the objective is worth watching."""
        return {}
