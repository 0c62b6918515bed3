"""Codes of a listener's events, which the user tower reads."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer

from towers.contract.schema import ACTIONS

NUM_ACTIONS = len(ACTIONS)
NUM_ELAPSED_BUCKETS = 26
"""0: unknown (the first event, or no clock); 1 to 25: from under a second to over half a year, by octaves."""
NUM_PLAYED_BUCKETS = 11
"""0: unknown; 1 to 10: tenths of the duration."""

UNKNOWN_ELAPSED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCodes:
    """Codes of events, all int64 and of one shape.

    `action` indexes `schema.ACTIONS`, `context` the vocabulary of contexts.
    """

    action: Int[np.ndarray, "*events"]
    elapsed: Int[np.ndarray, "*events"]
    played: Int[np.ndarray, "*events"]
    context: Int[np.ndarray, "*events"]


def elapsed_since_previous(timestamp_us: Integer[np.ndarray, " events"]) -> Int[np.ndarray, " events"]:
    """Microseconds between each event of one listener and the one before; -1 for the first."""
    elapsed = np.full(len(timestamp_us), UNKNOWN_ELAPSED, dtype=np.int64)
    elapsed[1:] = np.diff(timestamp_us)
    return elapsed


def encode_events(
    *,
    action: Integer[np.ndarray, "*events"],
    elapsed_us: Integer[np.ndarray, "*events"],
    played_fraction: Float[np.ndarray, "*events"],
    context: Integer[np.ndarray, "*events"],
) -> EventCodes:
    """Codes of events.

    Args:
        action: index into `schema.ACTIONS`.
        elapsed_us: since the listener's event before, in microseconds; -1 where unknown.
        played_fraction: 0 to 1, or -1 where unknown.
        context: code in the vocabulary of contexts.
    """
    octaves = np.log2(np.maximum(elapsed_us, 0) / 1e6 + 1).astype(np.int64)
    elapsed = np.minimum(octaves + 1, NUM_ELAPSED_BUCKETS - 1)
    # In float32, as a store keeps it: nine tenths is then in the last tenth wherever it comes from.
    tenths = np.minimum((np.asarray(played_fraction, np.float32) * np.float32(10)).astype(np.int64), 9)
    return EventCodes(
        action=action.astype(np.int64),
        elapsed=np.where(elapsed_us < 0, 0, elapsed),
        played=np.where(played_fraction < 0, 0, tenths + 1),
        context=context.astype(np.int64),
    )
