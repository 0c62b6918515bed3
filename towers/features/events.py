"""Codes of a listener's events, which the user tower reads."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer

from towers.contract.schema import ACTIONS

NUM_ACTIONS = len(ACTIONS)
NUM_ELAPSED_BUCKETS = 26
"""Number of codes for elapsed time. 0: unknown (the first event, or no timestamps); 1 to 25: from under a second to
over half a year, each bucket twice as long as the one before."""
NUM_PLAYED_BUCKETS = 11
"""Number of codes for the played fraction. 0: unknown; 1 to 10: tenths of the duration."""

UNKNOWN_ELAPSED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCodes:
    """Integer codes of events; all arrays are int64 and have the same shape.

    `action` is an index into `schema.ACTIONS`, `context` a code of the vocabulary of contexts.
    """

    action: Int[np.ndarray, "*events"]
    elapsed: Int[np.ndarray, "*events"]
    played: Int[np.ndarray, "*events"]
    context: Int[np.ndarray, "*events"]


def elapsed_since_previous(timestamp_us: Integer[np.ndarray, " events"]) -> Int[np.ndarray, " events"]:
    """Returns the microseconds between each event of one listener and the previous one; -1 for the first."""
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
    """Encodes events for the user tower.

    Args:
        action: index into `schema.ACTIONS`.
        elapsed_us: time since the listener's previous event, in microseconds; -1 where unknown.
        played_fraction: played share of the duration, 0 to 1; -1 where unknown.
        context: code in the vocabulary of contexts.
    """
    octaves = np.log2(np.maximum(elapsed_us, 0) / 1e6 + 1).astype(np.int64)
    elapsed = np.minimum(octaves + 1, NUM_ELAPSED_BUCKETS - 1)
    # Computed in float32, as a store keeps it, so that 0.9 gets the same code in training and in serving.
    tenths = np.minimum((np.asarray(played_fraction, np.float32) * np.float32(10)).astype(np.int64), 9)
    return EventCodes(
        action=action.astype(np.int64),
        elapsed=np.where(elapsed_us < 0, 0, elapsed),
        played=np.where(played_fraction < 0, 0, tenths + 1),
        context=context.astype(np.int64),
    )
