"""The sampled softmax in chunks of targets: the whole matrix of logits, targets x candidates, never exists.

Value and gradients come out of one pass, so that a chunk's logits are still in the cache when they are used again.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CHUNK_ENTRIES = 1 << 19
"""Logits of one chunk: 2 MB in float32, about the second-level cache of a core. A GPU takes larger ones."""
CHUNK_ENTRIES_CUDA = 1 << 25


class ChunkedSoftmaxLoss(torch.autograd.Function):
    """The weighted sum of `log(exp(s+) + sum over candidates of exp(s - log_q)) - s+`, computed in float32."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Float[Tensor, "targets dim"],
        positives: Float[Tensor, "targets dim"],
        candidates: Float[Tensor, "candidates dim"],
        log_q: Float[Tensor, " candidates"],
        hit_place: Int[Tensor, " targets"],
        is_hit: Bool[Tensor, " targets"],
        weight: Float[Tensor, " targets"],
    ) -> Float[Tensor, ""]:
        """Value, and gradients kept for `backward`.

        Args:
            ctx: of autograd.
            queries: already divided by the temperature.
            positives: vectors of the targets.
            candidates: vectors of what they compete with.
            log_q: logarithm of each candidate's probability to be drawn.
            hit_place: the candidate to leave out for each target, where `is_hit`.
            is_hit: whether the target stands among the candidates.
            weight: of each target.
        """
        entries = CHUNK_ENTRIES_CUDA if queries.is_cuda else CHUNK_ENTRIES
        size = max(1, entries // max(len(candidates), 1))
        queries32, positives32, candidates32 = queries.float(), positives.float(), candidates.float()
        grad_queries, grad_positives = torch.empty_like(queries32), torch.empty_like(positives32)
        grad_candidates = torch.zeros_like(candidates32)
        total = queries32.new_zeros(())
        for first in range(0, len(queries), size):
            part = slice(first, first + size)
            query, positive = queries32[part], positives32[part]
            score = (query * positive).sum(dim=-1)
            logits = torch.addmm(-log_q, query, candidates32.T)
            place = hit_place[part, None]
            logits.scatter_(1, place, torch.where(is_hit[part, None], -torch.inf, logits.gather(1, place)))
            top = torch.maximum(logits.amax(dim=-1), score)
            exponentials = logits.sub_(top[:, None]).exp_()
            own = (score - top).exp()
            normaliser = exponentials.sum(dim=-1) + own
            total += (weight[part] * (normaliser.log() + top - score)).sum()
            # d loss / d logit of a candidate is weight * exponential / normaliser: the factor goes onto the small side.
            factor = (weight[part] / normaliser)[:, None]
            shortfall = (weight[part] * (own / normaliser - 1))[:, None]
            grad_queries[part] = (exponentials @ candidates32) * factor + shortfall * positive
            grad_positives[part] = shortfall * query
            grad_candidates.addmm_(exponentials.T, query * factor)
        ctx.save_for_backward(grad_queries, grad_positives, grad_candidates)
        ctx.dtypes = queries.dtype, positives.dtype, candidates.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """The kept gradients, scaled."""
        grads = ctx.saved_tensors
        scaled = [(grad * grad_outputs[0]).to(dtype) for grad, dtype in zip(grads, ctx.dtypes, strict=True)]
        return (*scaled, None, None, None, None)
