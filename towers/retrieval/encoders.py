"""A listener's events to a vector, through the exported user tower: features in numpy, the network in ONNX."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import onnxruntime
from jaxtyping import Float, Integer

from towers.errors import UserError
from towers.features.events import elapsed_since_previous, encode_events

ONNX_INPUTS = ("content_vectors", "action", "elapsed", "played", "context", "user_codes", "lengths")


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """One listener's events in time order, all `[events]`.

    Args:
        content_row: row of the export; -1 without content.
        action: index into `schema.ACTIONS`.
        timestamp_us: microseconds since 1970, UTC.
        played_fraction: 0 to 1, -1 where unknown.
        context: code in the vocabulary of contexts, 0 where unknown.
    """

    content_row: Integer[np.ndarray, " events"]
    action: Integer[np.ndarray, " events"]
    timestamp_us: Integer[np.ndarray, " events"]
    played_fraction: Float[np.ndarray, " events"]
    context: Integer[np.ndarray, " events"]

    def __len__(self) -> int:
        return len(self.content_row)


EVENT_COLUMNS = tuple(field.name for field in fields(Events))
"""As the columns are called in an export's `histories/events.arrow`."""


class UserEncoder:
    """The user tower of an export.

    Args:
        path: of `user_tower.onnx`.
        content_vectors: `[contents, dim]`, of the same export.
        space_id: of the export.
        max_length: the last so many events are read.
        has_clock: whether the training data knew times.

    Raises:
        UserError: the tower belongs to another space or cannot be read.
    """

    def __init__(
        self,
        path: Path,
        content_vectors: Float[np.ndarray, "contents dim"],
        space_id: str,
        max_length: int,
        has_clock: bool,
    ):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no class in common
            raise UserError(
                f"{path}: cannot be read ({error}); make the export again, or copy it again whole"
            ) from error
        found = self._session.get_modelmeta().custom_metadata_map.get("space_id")
        if found != space_id:
            raise UserError(f"{path}: space_id {found} is not the export's {space_id}; vectors must not be mixed")
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._content_vectors = content_vectors
        self._max_length = max_length
        self._has_clock = has_clock

    def encode(self, events: Events, user_codes: Integer[np.ndarray, " columns"]) -> Float[np.ndarray, " dim"]:
        """The listener's unit vector after the last event; an empty history is fine."""
        inputs = self._network_inputs(events, user_codes)
        (vectors,) = self._session.run(None, {name: inputs[name] for name in self._inputs})
        return np.asarray(vectors)[0]

    def _network_inputs(self, events: Events, user_codes: Integer[np.ndarray, " columns"]) -> dict[str, np.ndarray]:
        """What the network reads, by the names of `ONNX_INPUTS`, as a batch of one."""
        elapsed = elapsed_since_previous(events.timestamp_us)
        if not self._has_clock:
            elapsed = np.full_like(elapsed, -1)
        codes = encode_events(
            action=events.action, elapsed_us=elapsed, played_fraction=events.played_fraction, context=events.context
        )
        last = slice(max(len(events) - self._max_length, 0), None)
        rows = events.content_row[last]
        vectors = np.zeros((max(len(rows), 1), self._content_vectors.shape[1]), np.float32)
        vectors[: len(rows)] = np.where((rows >= 0)[:, None], self._content_vectors[np.maximum(rows, 0)], 0)
        per_event = {"action": codes.action, "elapsed": codes.elapsed, "played": codes.played, "context": codes.context}
        return {
            "content_vectors": vectors[None],
            **{name: _at_least_one(values[last])[None] for name, values in per_event.items()},
            "user_codes": user_codes.astype(np.int64)[None],
            "lengths": np.array([len(rows)], np.int64),
        }


def _at_least_one(codes: np.ndarray) -> np.ndarray:
    """An empty history is one event of padding, which the state before it has not seen."""
    return codes if len(codes) else np.zeros(1, np.int64)
