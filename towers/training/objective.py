"""How well states predict targets among candidates. Knows nothing of histories, towers or Lightning."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from towers.batch import MicroBatch, TrainingBatch
from towers.data.datamodule import CandidateSampler
from towers.training.softmax_loss import ChunkedSoftmaxLoss


class Objective(nn.Module, ABC):
    """A loss over candidates. Parameters and buffers of its own are trained and saved with the network.

    The loss is a sum over targets, and a target's share depends on nothing but its own state and the contents' vectors:
    so a step may be cut into micro-batches and ranks at will, and its gradient stays the same.
    """

    candidates: CandidateSampler
    num_rejections: int = 0
    """Contents turned down that it wants to hear of with every target, at most."""

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


class Softmax(Objective):
    """Cross-entropy of the target against the candidates, each corrected by the probability of its being drawn.

    The target itself is always there, so it is not corrected, and where it is also among the candidates (an
    accidental hit) it is counted once: the refined logQ correction (Khrylchenko et al. 2025, arXiv 2507.09331).

    Relations: with all contents as candidates (log_q = 0) it is the exact softmax.

    Args:
        candidates: draws what targets compete with.
        temperature: by which inner products are divided; the start where it is learned.
        is_temperature_learned: whether it is.
    """

    MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 1.0

    def __init__(self, candidates: CandidateSampler, temperature: float, is_temperature_learned: bool):
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.candidates = candidates
        self._log_temperature = nn.Parameter(
            torch.tensor(float(temperature)).log(), requires_grad=is_temperature_learned
        )

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """Kept within its bounds."""
        return self._log_temperature.exp().clamp(self.MIN_TEMPERATURE, self.MAX_TEMPERATURE)

    def logged(self) -> dict[str, Tensor]:
        """The temperature."""
        return {"temperature": self.temperature.detach()}

    def forward(
        self,
        states: Float[Tensor, "targets dim"],
        content_vectors: Float[Tensor, "contents dim"],
        target_index: Int[Tensor, " targets"],
        target_weight: Float[Tensor, " targets"],
        candidate_index: Int[Tensor, " candidates"],
        candidate_log_q: Float[Tensor, " candidates"],
    ) -> Float[Tensor, ""]:
        """The weighted mean of `log(exp(s+) + sum over candidates of exp(s - log_q)) - s+`."""
        place = torch.searchsorted(candidate_index, target_index).clamp(max=len(candidate_index) - 1)
        total = ChunkedSoftmaxLoss.apply(
            states / self.temperature,
            content_vectors[target_index],
            content_vectors[candidate_index],
            candidate_log_q,
            place,
            candidate_index[place] == target_index,
            target_weight,
        )
        return total / target_weight.sum().clamp(min=1e-9)
