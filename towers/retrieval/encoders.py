"""Encoding of a listener's events by the exported user tower: features in NumPy, the network in ONNX Runtime."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.features.events import EventCodes, elapsed_since_previous, encode_events
from towers.retrieval.onnx_session import open_tower

CALL_IN_EVENTS = 40
"""Overhead of a call of the network, measured in events: it takes as long as some 40 of them, on one core."""
ONNX_INPUTS = ("content_vectors", "action", "elapsed", "played", "context", "user_codes", "lengths")


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """One listener's events in time order, all `[events]`.

    Args:
        content_row: row of the export's contents; -1 without content.
        action: index into `schema.ACTIONS`.
        timestamp_us: microseconds since 1970, UTC.
        played_fraction: played share of the duration, 0 to 1; -1 where unknown.
        context: code in the vocabulary of contexts; 0 where unknown.
        is_positive: whether each event is positive, by `contract.events.is_positive`; the tower does not read it.
    """

    content_row: Integer[np.ndarray, " events"]
    action: Integer[np.ndarray, " events"]
    timestamp_us: Integer[np.ndarray, " events"]
    played_fraction: Float[np.ndarray, " events"]
    context: Integer[np.ndarray, " events"]
    is_positive: Bool[np.ndarray, " events"]

    def __len__(self) -> int:
        return len(self.content_row)

    @property
    def chosen_rows(self) -> Int[np.ndarray, " chosen"]:
        """Content rows of the positive events, in time order, with repeats."""
        return self.content_row[self.is_positive].astype(np.int64)


EVENT_COLUMNS = tuple(field.name for field in fields(Events))
"""Names of these columns in an export's `histories/events.arrow`."""


class UserEncoder:
    """The user tower of an export.

    Args:
        path: path of `user_tower.onnx`.
        content_vectors: `[contents, input_dim]`, content vectors of the same export that the tower reads: the exported
            ones, or if those are truncated, the vectors of `content_inputs.npy`.
        space_id: space_id of the export.
        max_length: number of latest events that the tower reads.
        has_clock: whether the training data had timestamps.
        threads: number of threads that one call may use.

    Raises:
        UserError: the tower belongs to another space or cannot be read, or `threads` is below 1.
    """

    def __init__(
        self,
        path: Path,
        content_vectors: Float[np.ndarray, "contents dim"],
        space_id: str,
        max_length: int,
        has_clock: bool,
        threads: int = 1,
    ):
        self._session = open_tower(path, space_id, threads)
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._content_vectors = content_vectors
        self._max_length = max_length
        self._has_clock = has_clock

    def encode(self, events: Events, user_codes: Integer[np.ndarray, " columns"]) -> Float[np.ndarray, " dim"]:
        """Returns the listener's unit vector after the last event; the history may be empty."""
        return self.encode_batch([events], user_codes[None])[0]

    def encode_batch(
        self, histories: Sequence[Events], user_codes: Integer[np.ndarray, "users columns"]
    ) -> Float[np.ndarray, "users dim"]:
        """Encodes the histories of several listeners, at least one.

        A call of the network pads all histories to the longest, so histories of similar length share a call.
        """
        lengths = np.array([min(len(events), self._max_length) for events in histories])
        left, calls = np.argsort(lengths, kind="stable"), []
        while len(left):
            shorter = _run_apart(lengths[left])
            calls.append(left[shorter:])
            left = left[:shorter]
        vectors = [self._encoded([histories[place] for place in places], user_codes[places]) for places in calls]
        return np.concatenate(vectors)[np.argsort(np.concatenate(calls))]

    def _encoded(
        self, histories: Sequence[Events], user_codes: Integer[np.ndarray, "users columns"]
    ) -> Float[np.ndarray, "users dim"]:
        inputs = self._network_inputs(histories, user_codes)
        (vectors,) = self._session.run(None, {name: inputs[name] for name in self._inputs})
        return np.asarray(vectors)

    def _network_inputs(
        self, histories: Sequence[Events], user_codes: Integer[np.ndarray, "users columns"]
    ) -> dict[str, np.ndarray]:
        """Returns the inputs of the network, by the names of `ONNX_INPUTS`.

        An empty history becomes one event of padding, which does not affect its vector.
        """
        lengths = np.array([min(len(events), self._max_length) for events in histories], np.int64)
        shape = len(histories), max(int(lengths.max()), 1)
        per_event = {name: np.zeros(shape, np.int64) for name in ("action", "elapsed", "played", "context")}
        vectors = np.zeros((*shape, self._content_vectors.shape[1]), np.float32)
        for place, (events, length) in enumerate(zip(histories, lengths.tolist(), strict=True)):
            last = slice(len(events) - length, None)
            codes = self._codes(events)
            for name, padded in per_event.items():
                padded[place, :length] = getattr(codes, name)[last]
            rows = events.content_row[last]
            vectors[place, :length] = np.where((rows >= 0)[:, None], self._content_vectors[np.maximum(rows, 0)], 0)
        return {
            "content_vectors": vectors,
            **per_event,
            "user_codes": user_codes.astype(np.int64),
            "lengths": lengths,
        }

    def _codes(self, events: Events) -> EventCodes:
        elapsed = elapsed_since_previous(events.timestamp_us)
        if not self._has_clock:
            elapsed = np.full_like(elapsed, -1)
        return encode_events(
            action=events.action, elapsed_us=elapsed, played_fraction=events.played_fraction, context=events.context
        )


def _run_apart(lengths: Int[np.ndarray, " histories"]) -> int:
    """Returns how many of the shortest histories should run in a separate call; 0: none.

    Args:
        lengths: lengths of the histories, ascending.
    """
    count = np.arange(1, len(lengths))
    padding = count * (lengths[-1] - lengths[:-1])
    best = int(padding.argmax()) if len(padding) else 0
    return best + 1 if len(padding) and padding[best] > CALL_IN_EVENTS else 0
