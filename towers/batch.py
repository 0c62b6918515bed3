"""The tensors that data hands to models. Shapes are said here once.

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
    """`to` and `pin_memory` for frozen dataclasses of tensors: the training moves batches by them."""

    __slots__ = ()

    def to(self: Moved, device: torch.device | str, non_blocking: bool = True) -> Moved:
        """On `device`; from pinned memory without waiting."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self: Moved) -> Moved:
        """In page-locked memory."""
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
    """Where the real tokens of padded histories stand: listener after listener, the listener's own token first.

    Made where batches are read, so that a device never has to tell how many there are.

    Args:
        events: flat places of the events in `[batch, length]`.
        source: where each token comes from, as a row of the listeners' tokens and, after them, the events'.
        place: of each token in its own history, from 0.
        starts: where each listener's tokens start, and at last how many there are; int32, as kernels take it.
        tokens: of a padded history (length + 1), so no listener has more.
    """

    events: Int[Tensor, " events"]
    source: Int[Tensor, " real_tokens"]
    place: Int[Tensor, " real_tokens"]
    starts: Int[Tensor, " batch_and_one"]
    tokens: int

    @classmethod
    def of(cls, padding_mask: Bool[Tensor, "batch length"]) -> "Packing":
        """Of histories with this padding, True = padding, on the right; on the CPU.

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
        """Packed tokens at flat positions of padded histories, `listener * tokens + event`; none in the padding."""
        return self.starts[positions // self.tokens].long() + positions % self.tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryBatch(_Movable):
    """What listeners did, in time order.

    Args:
        content_index: row in the matrix of content vectors that comes along; -1 where an event has no content and
            in the padding.
        action: index into `schema.ACTIONS`.
        elapsed: bucket of the time since the event before.
        played: bucket of the played fraction.
        context: code of the context.
        padding_mask: True = padding.
        user_codes: codes of the listener's features.
        packing: where the real tokens stand, for a device that computes on them alone.
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
        """Events of each listener."""
        return (~self.padding_mask).sum(dim=1)


def rows_of_rank(num_rows: int, rank: int, ranks: int) -> slice:
    """Returns the rows of a table that stand at a rank: neighbours, as many for each, fewer for the last ones.

    So does torch (`torch.distributed.tensor.Shard`).

    >>> [rows_of_rank(5, rank, 4) for rank in range(4)]
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None), slice(5, 5, None)]
    """
    size = -(-num_rows // ranks)
    return slice(min(rank * size, num_rows), min((rank + 1) * size, num_rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(_Movable):
    """How rows of a divided table come to the ranks that want them, as one rank sees it.

    Made where batches are read: the contents of a step are known to all ranks, and which of them a rank encodes, so
    that neither wishes nor their number have to travel, and no device is asked for a size.

    Args:
        own: this rank's rows that others want, counted within its part of the table: those for rank 0 first.
        sent: how many go to each rank.
        received: how many come from each rank.
        wanted: where among this rank's contents those stand whose rows come, in the order in which they come.
        first: where this rank's contents begin among those of the step.
    """

    own: Int[Tensor, " sent"]
    sent: tuple[int, ...]
    received: tuple[int, ...]
    wanted: Int[Tensor, " received"]
    first: int

    @classmethod
    def of(cls, rows: Int[np.ndarray, " contents"], num_rows: int, rank: int, ranks: int) -> "Route":
        """Finds which rows of a table this rank sends and receives for the contents of a step.

        Each rank wants the rows of its share of the contents (`rows_of_rank`).

        Args:
            rows: of the table, by content of the step; -1 where it has none.
            num_rows: of the table.
            rank: of this process.
            ranks: that share the table.

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
    """How the rows of both tables travel in a step.

    Args:
        ids: of the id table.
        sounds: of the audio memory.
        fresh: which of the sounds that are encoded anew have their row at this rank.
        fresh_rows: these rows, counted within its part of the memory.
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
        has_audio: whether there is one.
        route: of their rows of the id table, where that is divided; within a step alone.
    """

    rows: Int[Tensor, " contents"]
    parts: dict[str, Int[Tensor, "contents width"]]
    audio: Float[Tensor, "contents audio_dim"]
    has_audio: Bool[Tensor, " contents"]
    route: Route | None = None

    def with_audio(self, index: Int[Tensor, " fresh"], vectors: Float[Tensor, "fresh audio_dim"]) -> "ContentBatch":
        """With other vectors at `index`, through which the gradient flows."""
        return replace(self, audio=self.audio.index_copy(0, index, vectors.to(self.audio.dtype)))

    def part(self, share: slice) -> "ContentBatch":
        """Takes neighbours among the contents; the route stays that of the rank's own contents."""
        return replace(replace(self, route=None)._each(lambda tensor: tensor[share]), route=self.route)


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets(_Movable):
    """Events to be predicted, each from a state of a listener's history.

    Args:
        position: flat position `window * (length + 1) + event` of the state that predicts the target.
        index: the target, as an index into the step's contents.
        weight: its weight in the loss, 0 or more.
        event: the target's event in its window; what stands before it is what the listener had chosen by then.
        window: the target's window, a row of the histories.
        time_s: when it happened, in seconds since the data's beginning; 0 where nobody asks.
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
    """What one process runs at once: windows of histories, and what is to be predicted from them.

    Args:
        histories: windows of histories; `content_index` points into the step's contents.
        targets: the events to be predicted.
    """

    histories: HistoryBatch
    targets: Targets


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBatch(_Movable):
    """One step's worth, as one process sees it: its own windows, and the contents of all processes.

    The contents are the same on all ranks, in the same order, candidates first: each rank encodes its share of them
    and they are gathered, so that a step's gradient does not depend on how many ranks or micro-batches it is cut
    into.

    Args:
        micro_batches: the windows of this process, in parts that are run one after the other.
        content_rows: the unique contents of the step: candidates first, by row, then whatever else is heard.
        candidate_log_q: logarithm of the probability that a candidate is among the candidates; 0 when it always is.
            What competes with a target are the first `candidates` of `content_rows`.
        candidate_since_s: when a candidate was heard for the first time, in seconds since the data's beginning; 0 where
            nobody asks.
        target_rows: content rows of the targets of all ranks, repeats included.
        total_weight: of the targets of all ranks.
        fresh_index: contents whose sound is encoded anew in this step, as indices into `content_rows`.
        fresh_spectrograms: log-mel crops of those of them that this process encodes.
        routes: how rows of tables travel, where these are divided among ranks.
        epoch: pass over the data, from 0.
        number: of the batch in its epoch, from 0.
        batches: in the epoch.
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
        """As a message says it."""
        return f"batch {self.number} of epoch {self.epoch}"
