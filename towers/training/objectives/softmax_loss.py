"""The softmax over candidates in chunks: only a bounded part of the logits, targets x candidates, exists at a time.

One pass computes value and gradients. Targets are taken in blocks and candidates in tiles, so that a tile's logits are
still in the cache when they are used again. A block's exponentials are kept until its normalisers are known; they are
relative to the greatest logit so far, as in online softmax (Milakov and Gimelshein 2018, arXiv 1805.02867), and the
smaller factors of the products are rescaled afterwards. Where no logit can be large (unit vectors divided by a
temperature), no shift is needed, which saves three passes over a tile.

Logits are in base 2, since `exp2`, computed once per logit, takes a third of the time of `exp` on a CPU.

In shapes, rows are the targets of a block and columns the candidates of a tile.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from towers.training.objectives.chunks import chunk_shape, exclude, room_for, slices, tile_in

CONTENT_BITS = 40
"""Bits of an index of a content, at most."""
BASE_2 = math.log2(math.e)
"""Factor from natural logarithms to those of base 2."""
LEAST_EXPONENT = -115.0
"""Least exponent relative to the greatest: 2 ** -115 is negligible. Float32 below 2 ** -126 is 50 times as slow."""
GREATEST_UNSHIFTED = 40.0
"""Logits up to this size are not shifted: 2 ** 40 times the size of a catalogue is far below float32's maximum."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Contents that listeners chose before their targets, which are excluded from the targets' candidates.

    A target that the listener had chosen before competes with everything.

    Args:
        content_index: contents of each window, -1 for padding.
        window: window of each target.
        event: position of each target in its window; contents before it are excluded.
    """

    content_index: Int[Tensor, "windows length"]
    window: Int[Tensor, " targets"]
    event: Int[Tensor, " targets"]

    def limit(self, target: Int[Tensor, " targets"]) -> Int[Tensor, " targets"]:
        """Returns the number of events of a target's window that are excluded: those before it, or 0 for a repeat.

        A repeat has the same content before it. Its first occurrence is found by binary search in the sorted contents
        of all windows, which is cheaper than comparing each target with all events before it.
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
    """Times since when candidates exist: a candidate that came later does not compete with a target.

    Without it a late content is a negative of all earlier targets, and looks less liked than it is.

    Args:
        since_s: time since when each candidate exists, seconds.
        time_s: time of each target, by the same clock.
    """

    since_s: Int[Tensor, " candidates"]
    time_s: Int[Tensor, " targets"]

    def is_later(self, rows: slice, columns: slice) -> Bool[Tensor, "rows columns"]:
        """Returns whether a candidate did not exist yet at a target."""
        return self.since_s[columns] > self.time_s[rows, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Competition:
    """Targets to predict, and the contents that they compete with.

    Args:
        num_candidates: number of candidates, the first contents, which compete with every target.
        target: index into the contents of each query's target.
        weight: weight of each target.
        log_q: log-probability of each candidate to be drawn; none: 0 for all.
        is_target_corrected: whether the target, which must then be a candidate, is divided by its `exp(log_q)` like the
            others. Otherwise it counts once and uncorrected, whether it is a candidate or not.
        rejected: contents that compete with one target alone, -1 for none.
        rejection_weight: factor of their exponentials.
        heard: contents that do not compete with a target.
        available: times by which candidates that did not exist yet are excluded; none: no candidate is.
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
        """Returns contents that compete with one target alone, itself first, and the base-2 logs of their weights."""
        target = self.target[:, None]
        own = torch.zeros(target.shape, device=target.device)
        if self.is_target_corrected:
            own.fill_(-torch.inf)  # the target is counted as a candidate
        if self.rejected is None:
            return target, own
        is_none = (self.rejected < 0) | (self.rejected == target)
        log_share = torch.full_like(self.rejected, self.rejection_weight, dtype=torch.float32).log2()
        index = torch.cat([target, self.rejected.clamp(min=0)], dim=1)
        return index, torch.cat([own, log_share.masked_fill(is_none, -torch.inf)], dim=1)


class _Excluded:
    """Contents that are excluded from a target's candidates.

    Args:
        competition: targets and their candidates.
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
        """Returns the excluded columns of the targets at `rows`; the number of candidates stands for none."""
        parts = [] if self._own is None else [self._own[rows, None]]
        if self._heard is not None:
            heard = self._content_index.index_select(0, self._heard.window[rows])
            is_later = torch.arange(heard.shape[1], device=heard.device) >= self._before[rows, None]
            parts.append(heard.masked_fill_(is_later, self._none))
        return parts


class SoftmaxLoss(torch.autograd.Function):
    """The weighted sum of `log(exp(s+) + sum over candidates of exp(s - log_q)) - s+`; see `Competition`.

    It is computed in float32, or float64 where queries or contents are, regardless of autocast.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Float[Tensor, "targets dim"],
        contents: Float[Tensor, "contents dim"],
        competition: Competition,
    ) -> Float[Tensor, ""]:
        """Computes the value, and keeps gradients for `backward`.

        Args:
            ctx: autograd's context.
            queries: listeners' vectors, already divided by the temperature.
            contents: vectors of contents, candidates first.
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
        """Returns the kept gradients, scaled in place, as there may be no memory for a second copy of a catalogue."""
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
    # A candidate drawn with probability q stands for 1 / q contents.
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
        # d loss / d logit is weight * exponential / normaliser; the factor goes onto the smaller side of products.
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
    """Returns whether no logit can exceed `GREATEST_UNSHIFTED`; false on a GPU, where looking would mean waiting."""
    if queries.device.type != "cpu" or not len(queries) or not len(contents):
        return False
    longest = [vectors.square().sum(dim=1).amax() for vectors in (queries, contents)]
    return float(longest[0] * longest[1]) <= (GREATEST_UNSHIFTED / BASE_2) ** 2


class _Block:
    """Sums over candidates for a block of targets.

    Args:
        query: queries of the targets.
        query_base_2: the queries scaled for logits of base 2.
        greatest: initial shift of each target's exponents, finite, base 2; overwritten by the shift in use, which
            only grows. None: no shift.
        normaliser: sums so far, relative to that shift; candidates are added in place.
        room: memory for the exponentials.
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
        """Adds the tile of `candidates`, at `columns` among all, to the normaliser and `grad_query`."""
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
        """Returns the greatest logits so far; makes exponents and earlier sums relative to them, in place."""
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
        """Adds gradients after all tiles; `factor` is weight / normaliser. The caller applies candidates' `copies`."""
        self._grad_query.mul_(factor[:, None])
        for columns, tile, greatest in self._tiles:
            scale = factor
            if greatest is not None and self._greatest is not None:
                scale = factor * (greatest - self._greatest).exp2()
            grad_candidates[columns].addmm_(tile.T, self._query * scale[:, None])
