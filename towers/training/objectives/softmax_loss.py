"""The softmax over candidates in chunks: of the logits, targets x candidates, a bounded part exists at a time.

Value and gradients come out of one pass. Targets are taken in blocks and candidates in tiles, so that a tile's logits
are still in the cache when they are used again. A block's exponentials are kept until its normalisers are known; they
are relative to the greatest logit so far, as in online softmax (Milakov and Gimelshein 2018, arXiv 1805.02867), and
the rest is put right on the small side of the products. Where no logit can be large (vectors have unit length, and are
divided by a temperature), nothing needs to be relative to anything, and three passes over a tile fall away.

Logits are in base 2, so that `exp2`, of which there is one a logit, takes a third of the time of `exp` on a processor.

rows: targets of a block. columns: candidates of a tile.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from towers.training.objectives.chunks import chunk_shape, exclude, room_for, slices, tile_in

CONTENT_BITS = 40
"""An index of a content has fewer."""
BASE_2 = math.log2(math.e)
"""What turns a natural logarithm into one of base 2."""
LEAST_EXPONENT = -115.0
"""Relative to the greatest: 2 ** -115 is nothing beside it. Below -126 a processor's float32 takes 50 times as long."""
GREATEST_UNSHIFTED = 40.0
"""Logits of at most this size are exponentiated as they are: 2 ** 40 times a catalogue is far from float32's end."""


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

    def limit(self, target: Int[Tensor, " targets"]) -> Int[Tensor, " targets"]:
        """Events of its window before which contents do not compete with a target: its own, or 0 where it is a repeat.

        A repeat has an equal before it. Where the first one stands is looked up among the sorted contents of all
        windows, for less than to compare each target with all that stands before it.
        """
        windows, length = self.content_index.shape
        if not length:
            return self.event
        size = windows * length
        first_key = torch.arange(windows, device=target.device) * (1 << CONTENT_BITS)
        keys = (self.content_index + first_key[:, None]).flatten()
        keys, place = keys.sort(stable=True)
        own = target + first_key[self.window]
        found = torch.searchsorted(keys, own).clamp(max=size - 1)
        is_repeat = (keys[found] == own) & (place[found] - self.window * length < self.event)
        return self.event.masked_fill(is_repeat, 0)


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

    def alone(self) -> tuple[Int[Tensor, "targets alone"], Float[Tensor, "targets alone"]]:
        """Contents that compete with one target alone, itself first, and the logarithm, base 2, of what they count."""
        target = self.target[:, None]
        own = torch.zeros(target.shape, device=target.device)
        if self.is_target_corrected:
            own.fill_(-torch.inf)  # it is counted among the candidates
        if self.rejected is None:
            return target, own
        is_none = (self.rejected < 0) | (self.rejected == target)
        log_share = torch.full_like(self.rejected, self.rejection_weight, dtype=torch.float32).log2()
        index = torch.cat([target, self.rejected.clamp(min=0)], dim=1)
        return index, torch.cat([own, log_share.masked_fill(is_none, -torch.inf)], dim=1)


class _Excluded:
    """Contents that do not compete as candidates.

    Args:
        competition: of the targets.
    """

    def __init__(self, competition: Competition):
        self._none = competition.num_candidates
        self._own = None if competition.is_target_corrected else self._candidates(competition.target)
        self._heard = competition.heard
        if self._heard is not None:
            self._before = self._heard.limit(competition.target)
            self._content_index = self._candidates(self._heard.content_index)

    def _candidates(self, index: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        return index.masked_fill((index < 0) | (index >= self._none), self._none)

    def at(self, rows: slice) -> list[Int[Tensor, "rows _"]]:
        """Those of the targets at `rows`; the number of candidates stands for none."""
        parts = [] if self._own is None else [self._own[rows, None]]
        if self._heard is not None:
            heard = self._content_index.index_select(0, self._heard.window[rows])
            is_later = torch.arange(heard.shape[1], device=heard.device) >= self._before[rows, None]
            parts.append(heard.masked_fill_(is_later, self._none))
        return parts


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
    tiles = list(slices(num_candidates, num_columns))
    room = queries.new_empty(room_for(num_rows, (tile.stop - tile.start for tile in tiles)))
    excluded = _Excluded(competition)
    weight, queries_base_2 = competition.weight.to(queries.dtype), queries * BASE_2
    index, log_share = competition.alone()
    alone = contents.index_select(0, index.flatten()).unflatten(0, index.shape)
    scores = (queries_base_2[:, None] * alone).sum(dim=2)  # entry by entry: a batched product takes a call each
    own, scores = scores[:, 0], scores + log_share
    greatest = None if _are_small(queries, contents) else torch.maximum(own, scores.amax(dim=1))
    exponentials = _exponentials(scores, greatest)
    normaliser = exponentials.sum(dim=1)
    for rows in slices(len(queries), num_rows):
        of_rows = None if greatest is None else greatest[rows]
        block = _Block(queries[rows], queries_base_2[rows], of_rows, normaliser[rows], room, grad_queries[rows])
        left_out = excluded.at(rows)
        for columns in tiles:
            later = None if competition.available is None else competition.available.is_later(rows, columns)
            of_tile = None if copies is None else copies[columns]
            block.add(candidates[columns], columns, num_candidates, left_out, later, of_tile)
        # d loss / d logit is weight * exponential / normaliser: the factor goes onto the small side of the products.
        block.add_gradients(weight[rows] / normaliser[rows], grad_candidates)
    losses = normaliser.log2() - own
    if greatest is not None:
        losses += greatest
        exponentials = _exponentials(scores, greatest)
    losses /= BASE_2
    if log_copies is not None:
        losses += log_copies[index[:, 0]]
    share = exponentials * (weight / normaliser)[:, None]
    share[:, 0] -= weight
    grad_queries += (share[:, :, None] * alone).sum(dim=1)
    if copies is not None:
        grad_candidates *= copies[:, None]
    grad_contents.index_add_(0, index.flatten(), (share[:, :, None] * queries[:, None]).flatten(0, 1))
    return weight @ losses, grad_queries, grad_contents


def _exponentials(
    scores: Float[Tensor, "targets alone"], greatest: Float[Tensor, " targets"] | None
) -> Float[Tensor, "targets alone"]:
    return (scores if greatest is None else scores - greatest[:, None]).exp2()


def _are_small(queries: Float[Tensor, "targets dim"], contents: Float[Tensor, "contents dim"]) -> bool:
    """Whether no logit can be larger than `GREATEST_UNSHIFTED`; false where a device would have to be waited for."""
    if queries.device.type != "cpu" or not len(queries) or not len(contents):
        return False
    longest = [vectors.square().sum(dim=1).amax() for vectors in (queries, contents)]
    return float(longest[0] * longest[1]) <= (GREATEST_UNSHIFTED / BASE_2) ** 2


class _Block:
    """Sums over candidates for a block of targets.

    Args:
        query: of the targets.
        query_base_2: the same, for logits of base 2.
        greatest: what no exponent shall be relative to less than: of each target, finite, base 2; overwritten by what
            they are relative to. None: exponents are relative to 0.
        normaliser: what is summed up already, relative to that; candidates are added.
        room: for the exponentials.
        grad_query: zeros, to be filled.
    """

    def __init__(
        self,
        query: Float[Tensor, "rows dim"],
        query_base_2: Float[Tensor, "rows dim"],
        greatest: Float[Tensor, " rows"] | None,
        normaliser: Float[Tensor, " rows"],
        room: Float[Tensor, " entries"],
        grad_query: Float[Tensor, "rows dim"],
    ):
        self._query = query
        self._query_base_2 = query_base_2
        self._greatest = greatest
        self._normaliser = normaliser
        self._room = room
        self._grad_query = grad_query
        self._tiles: list[tuple[slice, Tensor, Tensor | None]] = []

    def add(
        self,
        candidates: Float[Tensor, "columns dim"],
        columns: slice,
        num_candidates: int,
        excluded: list[Int[Tensor, "rows _"]],
        later: Bool[Tensor, "rows columns"] | None,
        copies: Float[Tensor, " columns"] | None,
    ) -> None:
        """Adds the tile of `candidates`, which stand at `columns` among all, to the normaliser and `grad_query`."""
        tile_and_spare = tile_in(self._room, len(self._query), len(candidates))
        self._room = self._room[tile_and_spare.stride(0) * len(self._query) :]
        tile = tile_and_spare[:, :-1]
        torch.mm(self._query_base_2, candidates.T, out=tile)
        for index in excluded:
            exclude(tile_and_spare, columns, index, num_candidates)
        if later is not None:
            tile.masked_fill_(later, -torch.inf)
        greatest = None if self._greatest is None else self._shift(tile, self._greatest)
        tile.exp2_()
        self._normaliser += tile.sum(dim=1) if copies is None else tile @ copies
        values = candidates if copies is None else candidates * copies[:, None]
        self._grad_query.addmm_(tile, values)
        self._tiles.append((columns, tile, greatest))

    def _shift(self, tile: Float[Tensor, "rows columns"], greatest: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
        """Makes exponents relative to the greatest so far, which it gives, and what has been summed up as well."""
        found = torch.maximum(greatest, tile.amax(dim=1))
        tile.sub_(found[:, None])
        if not tile.is_cuda:
            tile.clamp_(min=LEAST_EXPONENT)
        shrink = (greatest - found).exp2()
        self._normaliser *= shrink
        self._grad_query.mul_(shrink[:, None])
        greatest.copy_(found)
        return found

    def add_gradients(self, factor: Float[Tensor, " rows"], grad_candidates: Float[Tensor, "candidates dim"]) -> None:
        """Once all tiles are there: `factor` is weight / normaliser. Candidates' copies are left to the caller."""
        self._grad_query.mul_(factor[:, None])
        for columns, tile, greatest in self._tiles:
            scale = factor
            if greatest is not None and self._greatest is not None:
                scale = factor * (greatest - self._greatest).exp2()
            grad_candidates[columns].addmm_(tile.T, self._query * scale[:, None])
