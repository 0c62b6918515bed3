"""The softmax over candidates in chunks: of the logits, targets x candidates, a bounded part exists at a time.

Value and gradients come out of one pass. Targets are taken in blocks and candidates in tiles, so that a tile's logits
are still in the cache when they are used again. A block's exponentials are kept until its normalisers are known; they
are relative to the greatest logit so far, as in online softmax (Milakov and Gimelshein 2018, arXiv 1805.02867), and
the rest is put right on the small side of the products.

rows: targets of a block. columns: candidates of a tile.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from towers.training.objectives.chunks import chunk_shape, exclude, slices

LEAST_EXPONENT = -80.0
"""Relative to the greatest: e ** -80 is nothing beside it. Below -87 a processor's float32 takes 50 times as long."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What listeners chose before their targets; it is left out of what the targets compete with.

    A target that the listener had chosen before competes with everything.

    Args:
        content_index: what each window holds, -1 for nothing.
        window: of each target.
        event: of each target; what stands before it in its window counts.
    """

    content_index: Int[Tensor, "windows length"]
    window: Int[Tensor, " targets"]
    event: Int[Tensor, " targets"]

    def before(self, target: Int[Tensor, " rows"], rows: slice) -> Int[Tensor, "rows length"]:
        """Contents that the targets at `rows` do not compete with, -1 for none."""
        heard = self.content_index.index_select(0, self.window[rows])
        is_before = torch.arange(heard.shape[1], device=heard.device) < self.event[rows, None]
        is_repeat = ((heard == target[:, None]) & is_before).any(dim=1, keepdim=True)
        return heard.where(is_before & ~is_repeat, -1)


@dataclass(frozen=True, slots=True)
class Available:
    """Since when candidates have been there: what came later does not compete with a target.

    Without it a content that came late is held against all the targets before, and looks less liked than it is.

    Args:
        since_s: of each candidate.
        time_s: of each target, by the same clock.
    """

    since_s: Int[Tensor, " candidates"]
    time_s: Int[Tensor, " targets"]

    def is_later(self, rows: slice, columns: slice) -> Bool[Tensor, "rows columns"]:
        """Whether a candidate was not there yet."""
        return self.since_s[columns] > self.time_s[rows, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Competition:
    """What is to be predicted, and against what.

    Args:
        num_candidates: the first so many contents compete with every target.
        target: of each query, an index into the contents.
        weight: of each target.
        log_q: logarithm of each candidate's probability to be drawn; none: 0 for all.
        is_target_corrected: the target, a candidate then, counts as one: divided by its `exp(log_q)`, as the others
            are. Else it counts once and as it is, whether it is a candidate or not.
        rejected: contents that compete with one target alone, -1 for none.
        rejection_weight: by which their exponentials are multiplied.
        heard: contents that do not compete with a target.
        available: candidates that were not there yet; they do not compete either.
    """

    num_candidates: int
    target: Int[Tensor, " targets"]
    weight: Float[Tensor, " targets"]
    log_q: Float[Tensor, " candidates"] | None = None
    is_target_corrected: bool = False
    rejected: Int[Tensor, "targets rejections"] | None = None
    rejection_weight: float = 1.0
    heard: Heard | None = None
    available: Available | None = None

    def excluded(self, rows: slice) -> Int[Tensor, "rows excluded"]:
        """Contents that do not compete as candidates with the targets at `rows`, -1 for none."""
        target = self.target[rows]
        parts = [target[:, None][:, : 0 if self.is_target_corrected else 1]]
        if self.heard is not None:
            parts.append(self.heard.before(target, rows))
        return torch.cat(parts, dim=1)

    def alone(self, rows: slice) -> tuple[Int[Tensor, "rows alone"], Float[Tensor, "rows alone"]]:
        """Contents that compete with one target alone, itself first, and the logarithm of how much they count."""
        target = self.target[rows, None]
        own = torch.zeros(target.shape, device=target.device)
        if self.is_target_corrected:
            own.fill_(-torch.inf)  # it is counted among the candidates
        if self.rejected is None:
            return target, own
        rejected = self.rejected[rows]
        is_none = (rejected < 0) | (rejected == target)
        log_share = torch.full_like(rejected, self.rejection_weight, dtype=torch.float32).log()
        index = torch.cat([target, rejected.clamp(min=0)], dim=1)
        return index, torch.cat([own, log_share.masked_fill(is_none, -torch.inf)], dim=1)


class SoftmaxLoss(torch.autograd.Function):
    """The weighted sum of `log(exp(s+) + sum over candidates of exp(s - log_q)) - s+`; see `Competition`.

    Computed in float32 (float64 where queries or contents are), whatever autocast says.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Float[Tensor, "targets dim"],
        contents: Float[Tensor, "contents dim"],
        competition: Competition,
    ) -> Float[Tensor, ""]:
        """Value, and gradients kept for `backward`.

        Args:
            ctx: of autograd.
            queries: already divided by the temperature.
            contents: candidates first.
            competition: targets and what they compete with.
        """
        dtype = torch.promote_types(torch.promote_types(queries.dtype, contents.dtype), torch.float32)
        with torch.autocast(queries.device.type, enabled=False):
            total, *gradients = _value_and_gradients(queries.to(dtype), contents.to(dtype), competition)
        ctx.save_for_backward(*gradients)
        ctx.dtypes = queries.dtype, contents.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """The kept gradients, scaled in place: for a second copy of a catalogue there may be no room."""
        if torch.is_grad_enabled():
            raise RuntimeError("the softmax in chunks has no second derivative")
        scaled = [grad.mul_(grad_outputs[0]) for grad in ctx.saved_tensors]
        return (*(grad.to(dtype) for grad, dtype in zip(scaled, ctx.dtypes, strict=True)), None)


def _value_and_gradients(
    queries: Float[Tensor, "targets dim"], contents: Float[Tensor, "contents dim"], competition: Competition
) -> tuple[Float[Tensor, ""], Float[Tensor, "targets dim"], Float[Tensor, "contents dim"]]:
    num_candidates, log_q = competition.num_candidates, competition.log_q
    grad_queries, grad_contents = torch.zeros_like(queries), torch.zeros_like(contents)
    candidates, grad_candidates = contents[:num_candidates], grad_contents[:num_candidates]
    # A candidate that is drawn with probability q stands for 1 / q of its kind.
    copies = None if log_q is None else log_q.to(queries.dtype).neg().exp()
    log_copies = log_q if competition.is_target_corrected else None
    num_rows, num_columns = chunk_shape(len(queries), num_candidates, queries.is_cuda)
    room = queries.new_empty(num_rows * num_candidates + 1)
    total = queries.new_zeros(())
    of_alone = []
    for rows in slices(len(queries), num_rows):
        query, weight = queries[rows], competition.weight[rows].to(queries.dtype)
        index, log_share = competition.alone(rows)
        alone = contents.index_select(0, index.flatten()).unflatten(0, index.shape)
        scores = torch.einsum("rd,rad->ra", query, alone)
        own, scores = scores[:, 0], scores + log_share
        block = _Block(query, torch.maximum(own, scores.amax(dim=1)), room, grad_queries[rows])
        excluded = competition.excluded(rows)
        for columns in slices(num_candidates, num_columns):
            later = None if competition.available is None else competition.available.is_later(rows, columns)
            block.add(candidates[columns], columns, excluded, later, None if copies is None else copies[columns])
        exponentials = (scores - block.greatest[:, None]).exp()
        normaliser = block.normaliser + exponentials.sum(dim=1)
        losses = normaliser.log() + block.greatest - own
        if log_copies is not None:
            losses += log_copies[index[:, 0]]
        total += weight @ losses
        # d loss / d logit is weight * exponential / normaliser: the factor goes onto the small side of the products.
        factor = weight / normaliser
        block.add_gradients(factor, grad_candidates)
        share = exponentials * factor[:, None]
        share[:, 0] -= weight
        grad_queries[rows] += torch.einsum("ra,rad->rd", share, alone)
        of_alone.append((rows, index, share))
    if copies is not None:
        grad_candidates *= copies[:, None]
    for rows, index, share in of_alone:
        grad_contents.index_add_(0, index.flatten(), (share[:, :, None] * queries[rows, None]).flatten(0, 1))
    return total, grad_queries, grad_contents


class _Block:
    """Sums over candidates for a block of targets.

    Args:
        query: of the targets.
        greatest: what no exponent shall be relative to less than: of each target, finite.
        room: for the exponentials, and one entry more: there goes what is not to be written.
        grad_query: zeros, to be filled.
    """

    def __init__(
        self,
        query: Float[Tensor, "rows dim"],
        greatest: Float[Tensor, " rows"],
        room: Float[Tensor, " entries"],
        grad_query: Float[Tensor, "rows dim"],
    ):
        self.greatest = greatest
        self.normaliser = torch.zeros_like(greatest)
        self._query = query
        self._room = room
        self._grad_query = grad_query
        self._tiles: list[tuple[slice, Tensor, Tensor]] = []

    def add(
        self,
        candidates: Float[Tensor, "columns dim"],
        columns: slice,
        excluded: Int[Tensor, "rows excluded"],
        later: Bool[Tensor, "rows columns"] | None,
        copies: Float[Tensor, " columns"] | None,
    ) -> None:
        """Adds the tile of `candidates`, which stand at `columns` among all, to the normaliser and `grad_query`."""
        room = self._room[len(self._query) * columns.start :]
        tile = room[: len(self._query) * len(candidates)].view(len(self._query), len(candidates))
        torch.mm(self._query, candidates.T, out=tile)
        exclude(room, columns, excluded)
        if later is not None:
            tile.masked_fill_(later, -torch.inf)
        before, self.greatest = self.greatest, torch.maximum(self.greatest, tile.amax(dim=1))
        tile.sub_(self.greatest[:, None])
        if not tile.is_cuda:
            tile.clamp_(min=LEAST_EXPONENT)
        tile.exp_()
        shrink = (before - self.greatest).exp()
        self.normaliser = self.normaliser * shrink + (tile.sum(dim=1) if copies is None else tile @ copies)
        values = candidates if copies is None else candidates * copies[:, None]
        self._grad_query.mul_(shrink[:, None]).addmm_(tile, values)
        self._tiles.append((columns, tile, self.greatest))

    def add_gradients(self, factor: Float[Tensor, " rows"], grad_candidates: Float[Tensor, "candidates dim"]) -> None:
        """Once all tiles are there: `factor` is weight / normaliser. Candidates' copies are left to the caller."""
        self._grad_query.mul_(factor[:, None])
        for columns, tile, greatest in self._tiles:
            scale = factor * (greatest - self.greatest).exp()
            grad_candidates[columns].addmm_(tile.T, self._query * scale[:, None])
