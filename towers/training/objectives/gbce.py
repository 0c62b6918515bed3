"""Binary cross-entropy of the target and of negatives, calibrated where negatives are sampled."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from towers.batch import MicroBatch
from towers.training.objectives.chunks import chunk_shape, exclude, room_for, slices, tile_in
from towers.training.objectives.negatives import Uniform
from towers.training.objectives.objective import Objective
from towers.training.objectives.temperature import Temperature


class GBCE(Objective):
    """Generalised binary cross-entropy (Petrov and Macdonald 2023, arXiv 2308.07192, equations 8 to 10).

    Of n contents k are drawn as negatives, a share alpha = k / (n - 1), and the target's sigmoid is raised to the power
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha) = 1 - t * (1 - alpha). The loss of a target is

        (-beta * log sigmoid(s+) - sum over negatives of log(1 - sigmoid(s))) / (k + 1).

    Relations: with calibration 0, or all contents as negatives, it is plain binary cross-entropy; with calibration 1
    the sigmoid estimates the probability as if all contents were negatives.

    Args:
        candidates: sampler of the negatives.
        temperature: divisor of inner products; the initial one if learned.
        is_temperature_learned: whether the temperature is learned.
        calibration: t, 0 to 1; the paper uses .75.
    """

    def __init__(self, candidates: Uniform, temperature: float, is_temperature_learned: bool, calibration: float):
        super().__init__()
        if not 0 <= calibration <= 1:
            raise ValueError(f"calibration must be from 0 to 1, got {calibration}")
        self.candidates = candidates
        self.temperature = Temperature(temperature, is_temperature_learned)
        self.num_negatives = candidates.num_drawn
        self.beta = 1 - calibration * (1 - min(self.num_negatives / max(candidates.num_contents - 1, 1), 1.0))

    def logged(self) -> dict[str, Tensor]:
        """Returns the temperature."""
        return {"temperature": self.temperature.value.detach()}

    def forward(
        self,
        states: Float[Tensor, "targets dim"],
        content_vectors: Float[Tensor, "contents dim"],
        log_q: Float[Tensor, " candidates"],
        micro_batch: MicroBatch,
    ) -> Float[Tensor, ""]:
        """Returns the weighted sum of the targets' losses."""
        queries, targets = self.temperature(states), micro_batch.targets
        total = BinaryLoss.apply(queries, content_vectors, len(log_q), targets.index, targets.weight, self.beta)
        return total / (self.num_negatives + 1)


class BinaryLoss(torch.autograd.Function):
    """The weighted sum of `beta * softplus(-s+) + sum over candidates but the target of softplus(s)`, in chunks.

    One pass computes value and gradients, in float32, or float64 where queries or contents are.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Float[Tensor, "targets dim"],
        contents: Float[Tensor, "contents dim"],
        num_candidates: int,
        target: Int[Tensor, " targets"],
        weight: Float[Tensor, " targets"],
        beta: float,
    ) -> Float[Tensor, ""]:
        """Computes the value and keeps gradients for `backward`; the first `num_candidates` contents are candidates."""
        dtype = torch.promote_types(torch.promote_types(queries.dtype, contents.dtype), torch.float32)
        ctx.dtypes = queries.dtype, contents.dtype
        with torch.autocast(queries.device.type, enabled=False):
            queries, contents, weight = queries.to(dtype), contents.to(dtype), weight.to(dtype)
            positives = contents.index_select(0, target)
            own = (queries * positives).sum(dim=1)
            total = beta * (weight @ softplus(-own))
            share = (beta * weight * -torch.sigmoid(-own))[:, None]
            grad_queries, grad_contents = share * positives, torch.zeros_like(contents)
            total += _add_negatives(queries, contents[:num_candidates], target, weight, grad_queries, grad_contents)
            grad_contents.index_add_(0, target, share * queries)
        ctx.save_for_backward(grad_queries, grad_contents)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the kept gradients, scaled in place."""
        if torch.is_grad_enabled():
            raise RuntimeError("the binary cross-entropy in chunks has no second derivative")
        scaled = [grad.mul_(grad_outputs[0]) for grad in ctx.saved_tensors]
        return (*(grad.to(dtype) for grad, dtype in zip(scaled, ctx.dtypes, strict=True)), None, None, None, None)


def _add_negatives(
    queries: Float[Tensor, "targets dim"],
    candidates: Float[Tensor, "candidates dim"],
    target: Int[Tensor, " targets"],
    weight: Float[Tensor, " targets"],
    grad_queries: Float[Tensor, "targets dim"],
    grad_contents: Float[Tensor, "contents dim"],
) -> Float[Tensor, ""]:
    """Returns the negatives' part of the sum; adds its gradients in place."""
    total = queries.new_zeros(())
    num_rows, num_columns = chunk_shape(len(queries), len(candidates), queries.is_cuda)
    room = queries.new_empty(room_for(num_rows, [min(num_columns, len(candidates))]))
    own = target.clamp(max=len(candidates))
    for rows in slices(len(queries), num_rows):
        query, factor = queries[rows], weight[rows, None]
        for columns in slices(len(candidates), num_columns):
            negatives = candidates[columns]
            tile_and_spare = tile_in(room, len(query), len(negatives))
            tile = tile_and_spare[:, :-1]
            torch.mm(query, negatives.T, out=tile)
            exclude(tile_and_spare, columns, own[rows, None], len(candidates))
            total += weight[rows] @ softplus(tile).sum(dim=1)
            tile.sigmoid_()
            grad_queries[rows] += (tile @ negatives) * factor
            grad_contents[columns].addmm_(tile.T, query * factor)
    return total
