"""Tensors that the data hands to models. The names of their axes:

batch: listeners (or windows of their histories). length: events, padded on the right. contents: unique contents of a
batch, encoded once. parts: metadata parts of a content. targets: events that are to be predicted.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Moved = TypeVar("Moved", bound="_Movable")  # `Self` cannot be checked at run time, which the tests do


class _Movable:
    """Adds `to` and `pin_memory` to frozen dataclasses of tensors; Lightning moves batches with them."""

    __slots__ = ()

    def to(self: Moved, device: torch.device | str, non_blocking: bool = True) -> Moved:
        """Moves all tensors to `device`, asynchronously from pinned memory."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self: Moved) -> Moved:
        """Copies all tensors to page-locked memory."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self: Moved, function: Callable[[Tensor], Tensor]) -> Moved:
        moved = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                moved[field.name] = function(value)
            elif isinstance(value, _Movable):
                moved[field.name] = value._each(function)
            elif isinstance(value, dict):
                moved[field.name] = {name: function(tensor) for name, tensor in value.items()}
            elif isinstance(value, tuple):
                moved[field.name] = tuple(
                    part._each(function) if isinstance(part, _Movable) else part for part in value
                )
        return replace(self, **moved)  # type: ignore[type-var]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing(_Movable):
    """Positions of the real tokens of padded histories: listener after listener, the listener's own token first.

    Made where batches are read, so that a device never has to report how many there are.

    Args:
        events: flat positions of the events in `[batch, length]`.
        source: origin of each token, as a row of the listeners' tokens followed by the events.
        place: position of each token in its own history, from 0.
        starts: position of each listener's first token, followed by the number of tokens; int32, as kernels take it.
        tokens: length of a padded history in tokens (length + 1); no listener has more.
    """

    events: Int[Tensor, " events"]
    source: Int[Tensor, " real_tokens"]
    place: Int[Tensor, " real_tokens"]
    starts: Int[Tensor, " batch_and_one"]
    tokens: int

    @classmethod
    def of(cls, padding_mask: Bool[Tensor, "batch length"]) -> "Packing":
        """Packs histories with this padding (True = padding, on the right), on the CPU.

        >>> packing = Packing.of(torch.tensor([[False, False], [True, True], [False, True]]))
        >>> packing.events.tolist(), packing.source.tolist()
        ([0, 1, 4], [0, 3, 4, 1, 2, 5])
        >>> packing.place.tolist(), packing.starts.tolist(), packing.tokens
        ([0, 1, 2, 0, 0, 1], [0, 3, 4, 6], 3)
        """
        batch, length = padding_mask.shape
        is_real = torch.cat([torch.ones((batch, 1), dtype=torch.bool), ~padding_mask], dim=1)
        events = (~padding_mask).flatten().nonzero().squeeze(1)
        source = torch.empty(is_real.shape, dtype=torch.int64)
        source[:, 0] = torch.arange(batch)
        source[:, 1:][~padding_mask] = batch + torch.arange(len(events))
        return cls(
            events=events,
            source=source[is_real],
            place=torch.arange(length + 1).expand(batch, -1)[is_real],
            starts=torch.nn.functional.pad(is_real.sum(dim=1).cumsum(0), (1, 0)).to(torch.int32),
            tokens=length + 1,
        )

    def tokens_at(self, positions: Int[Tensor, " positions"]) -> Int[Tensor, " positions"]:
        """Returns packed tokens at flat positions of padded histories, `listener * tokens + event`; none may be
        padding."""
        return self.starts[positions // self.tokens].long() + positions % self.tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryBatch(_Movable):
    """Histories of a batch of listeners, in time order.

    Args:
        content_index: row in the matrix of content vectors that comes along; -1 where an event has no content and
            in the padding.
        action: index into `schema.ACTIONS`.
        elapsed: bucket of the time since the event before.
        played: bucket of the played fraction.
        context: code of the context.
        padding_mask: True = padding.
        user_codes: codes of the listener's features.
        packing: positions of the real tokens, for a device that computes on them alone.
    """

    content_index: Int[Tensor, "batch length"]
    action: Int[Tensor, "batch length"]
    elapsed: Int[Tensor, "batch length"]
    played: Int[Tensor, "batch length"]
    context: Int[Tensor, "batch length"]
    padding_mask: Bool[Tensor, "batch length"]
    user_codes: Int[Tensor, "batch columns"]
    packing: Packing | None = None

    @property
    def lengths(self) -> Int[Tensor, " batch"]:
        """Number of events of each listener."""
        return (~self.padding_mask).sum(dim=1)


def rows_of_rank(num_rows: int, rank: int, ranks: int) -> slice:
    """Returns the rows of a table that a rank holds: contiguous, equally many at each rank, fewer at the last ones.

    torch divides the same way (`torch.distributed.tensor.Shard`).

    >>> [rows_of_rank(5, rank, 4) for rank in range(4)]
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None), slice(5, 5, None)]
    """
    size = -(-num_rows // ranks)
    return slice(min(rank * size, num_rows), min((rank + 1) * size, num_rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(_Movable):
    """Exchange of the rows of a divided table among ranks, as one rank sees it.

    Made where batches are read: all ranks know the contents of a step and which of them each rank encodes, so that
    neither requests nor their number are sent, and no device is asked for a size.

    Args:
        own: rows of this rank that others need, counted within its part of the table; those for rank 0 first.
        sent: number of rows that go to each rank.
        received: number of rows that come from each rank.
        wanted: indices of this rank's contents whose rows arrive, in the order of their arrival.
        first: index of this rank's first content among those of the step.
    """

    own: Int[Tensor, " sent"]
    sent: tuple[int, ...]
    received: tuple[int, ...]
    wanted: Int[Tensor, " received"]
    first: int

    @classmethod
    def of(cls, rows: Int[np.ndarray, " contents"], num_rows: int, rank: int, ranks: int) -> "Route":
        """Finds which rows of a table this rank sends and receives for the contents of a step.

        Each rank needs the rows of its share of the contents (`rows_of_rank`).

        Args:
            rows: row of the table for each content of the step; -1 where it has none.
            num_rows: number of rows of the table.
            rank: rank of this process.
            ranks: number of ranks that share the table.

        >>> route = Route.of(np.array([3, 0, -1, 2]), num_rows=4, rank=1, ranks=2)
        >>> route.own.tolist(), route.sent, route.received, route.wanted.tolist(), route.first
        ([1, 0], (1, 1), (0, 1), [1], 2)
        """
        part = rows_of_rank(len(rows), rank, ranks)
        owner = np.where(rows < 0, -1, rows // max(-(-num_rows // ranks), 1))
        mine = np.flatnonzero(owner == rank)
        wanting = mine // max(-(-len(rows) // ranks), 1)
        wanted = np.argsort(owner[part], kind="stable")
        wanted = wanted[np.count_nonzero(owner[part] < 0) :]
        return cls(
            own=torch.from_numpy(rows[mine].astype(np.int64) - rows_of_rank(num_rows, rank, ranks).start),
            sent=tuple(np.bincount(wanting, minlength=ranks).tolist()),
            received=tuple(np.bincount(owner[part][wanted], minlength=ranks).tolist()),
            wanted=torch.from_numpy(wanted),
            first=part.start,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes(_Movable):
    """Exchanges of the rows of both tables in a step.

    Args:
        ids: exchange of rows of the id table.
        sounds: exchange of rows of the audio memory.
        fresh: indices of the sounds encoded in this step whose row this rank holds.
        fresh_rows: these rows, counted within this rank's part of the memory.
    """

    ids: Route
    sounds: Route
    fresh: Int[Tensor, " kept"]
    fresh_rows: Int[Tensor, " kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentBatch(_Movable):
    """Contents to encode.

    Args:
        rows: row in the store.
        parts: metadata part -> codes, 0 = absent.
        audio: vector of the audio encoder; zeros where there is no sound.
        has_audio: whether there is a sound.
        route: exchange of their rows of the id table, where that is divided; only within a step.
    """

    rows: Int[Tensor, " contents"]
    parts: dict[str, Int[Tensor, "contents width"]]
    audio: Float[Tensor, "contents audio_dim"]
    has_audio: Bool[Tensor, " contents"]
    route: Route | None = None

    def with_audio(self, index: Int[Tensor, " fresh"], vectors: Float[Tensor, "fresh audio_dim"]) -> "ContentBatch":
        """Returns the batch with other audio vectors at `index`, through which the gradient flows."""
        return replace(self, audio=self.audio.index_copy(0, index, vectors.to(self.audio.dtype)))

    def part(self, share: slice) -> "ContentBatch":
        """Returns a contiguous slice of this batch; the route stays that of the rank's own contents."""
        return replace(replace(self, route=None)._each(lambda tensor: tensor[share]), route=self.route)


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets(_Movable):
    """Events to be predicted, each from a state of a listener's history.

    Args:
        position: flat position `window * (length + 1) + event` of the state that predicts the target.
        index: the target, as an index into the step's contents.
        weight: its weight in the loss, 0 or more.
        event: position of the target's event in its window; the events before it are what the listener had done by
            then.
        window: the target's window, a row of the histories.
        time_s: time of the event, in seconds since the data's beginning; 0 where it is not needed.
        rejected: contents that the listener turned down (skipped, disliked) close to the target: indices into the
            step's contents, -1 where there are fewer; `rejections` may be 0.
    """

    position: Int[Tensor, " targets"]
    index: Int[Tensor, " targets"]
    weight: Float[Tensor, " targets"]
    event: Int[Tensor, " targets"]
    window: Int[Tensor, " targets"]
    time_s: Int[Tensor, " targets"]
    rejected: Int[Tensor, "targets rejections"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch(_Movable):
    """Windows of histories that one process runs at once, and the targets to predict from them.

    Args:
        histories: windows of histories; `content_index` points into the step's contents.
        targets: the events to be predicted.
    """

    histories: HistoryBatch
    targets: Targets


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBatch(_Movable):
    """One training step as one process sees it: its own windows, and the contents of all processes.

    The contents are the same on all ranks, in the same order, candidates first: each rank encodes its share of them
    and they are gathered, so that a step's gradient does not depend on the number of ranks or micro-batches.

    Args:
        micro_batches: windows of this process, in parts that are run one after the other.
        content_rows: unique contents of the step: candidates first, by row, then the other contents of the histories.
        candidate_log_q: logarithm of the probability that a candidate is drawn; 0 when it always is a candidate.
            The candidates are the first `candidates` of `content_rows`.
        candidate_since_s: time when a candidate was first heard, in seconds since the data's beginning; 0 where it is
            not needed.
        target_rows: content rows of the targets of all ranks, repeats included.
        total_weight: sum of the weights of the targets of all ranks.
        fresh_index: contents whose sound is encoded anew in this step, as indices into `content_rows`.
        fresh_spectrograms: log-mel crops of those of them that this process encodes.
        routes: exchanges of table rows, where tables are divided among ranks.
        epoch: pass over the data, from 0.
        number: index of the batch in its epoch, from 0.
        batches: number of batches in the epoch.
    """

    micro_batches: tuple[MicroBatch, ...]
    content_rows: Int[Tensor, " contents"]
    candidate_log_q: Float[Tensor, " candidates"]
    candidate_since_s: Int[Tensor, " candidates"]
    target_rows: Int[Tensor, " all_targets"]
    total_weight: Float[Tensor, ""]
    fresh_index: Int[Tensor, " fresh"]
    fresh_spectrograms: Float[Tensor, "own_fresh n_mels frames"]
    epoch: int
    number: int
    batches: int
    routes: Routes | None = None

    @property
    def name(self) -> str:
        """Name of the batch in messages."""
        return f"batch {self.number} of epoch {self.epoch}"
