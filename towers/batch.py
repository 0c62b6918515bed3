"""The tensors that data hands to models. Shapes are said here once.

batch: listeners (or windows of their histories). length: events, padded on the right. contents: unique contents of a
batch, encoded once. parts: metadata parts of a content. targets: events that are to be predicted.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Moved = TypeVar("Moved", bound="_Movable")  # `Self` cannot be checked at run time, which the tests do


class _Movable:
    """`to` and `pin_memory` for frozen dataclasses of tensors: Lightning moves batches by them."""

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
        return replace(self, **moved)  # type: ignore[type-var]


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
    """

    content_index: Int[Tensor, "batch length"]
    action: Int[Tensor, "batch length"]
    elapsed: Int[Tensor, "batch length"]
    played: Int[Tensor, "batch length"]
    context: Int[Tensor, "batch length"]
    padding_mask: Bool[Tensor, "batch length"]
    user_codes: Int[Tensor, "batch columns"]

    @property
    def lengths(self) -> Int[Tensor, " batch"]:
        """Events of each listener."""
        return (~self.padding_mask).sum(dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentBatch(_Movable):
    """Contents to encode.

    Args:
        rows: row in the store.
        parts: metadata part -> codes, 0 = absent.
        audio: vector of the audio encoder; zeros where there is no sound.
        has_audio: whether there is one.
    """

    rows: Int[Tensor, " contents"]
    parts: dict[str, Int[Tensor, "contents width"]]
    audio: Float[Tensor, "contents audio_dim"]
    has_audio: Bool[Tensor, " contents"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBatch(_Movable):
    """One step's worth.

    Args:
        histories: windows of histories; `content_index` points into `content_rows`.
        content_rows: the unique contents of the step: heard, to be predicted, or negatives.
        target_position: flat position `window * (length + 1) + event` of the state that predicts the target.
        target_index: the target, as an index into `content_rows`.
        target_weight: its weight in the loss.
        candidate_index: what the target competes with, as indices into `content_rows`.
        candidate_log_q: logarithm of the probability that a candidate is among the candidates; 0 when it always is.
        fresh_index: contents whose sound is encoded anew in this step, as indices into `content_rows`.
        fresh_spectrograms: their log-mel crops.
    """

    histories: HistoryBatch
    content_rows: Int[Tensor, " contents"]
    target_position: Int[Tensor, " targets"]
    target_index: Int[Tensor, " targets"]
    target_weight: Float[Tensor, " targets"]
    candidate_index: Int[Tensor, " candidates"]
    candidate_log_q: Float[Tensor, " candidates"]
    fresh_index: Int[Tensor, " fresh"]
    fresh_spectrograms: Float[Tensor, "fresh n_mels frames"]
