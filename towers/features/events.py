"""A listener's events as codes: what happened, how long after the event before, how much of it was played."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer

from towers.schema import ACTIONS

NUM_ACTIONS = len(ACTIONS)
NUM_ELAPSED_BUCKETS = 26
"""0: unknown (the first event, or no clock); 1 to 25: from under a second to over half a year, by octaves."""
NUM_PLAYED_BUCKETS = 11
"""0: unknown; 1 to 10: tenths of the duration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCodes:
    """Codes of `events` events that follow each other; all `[events]`, int64.

    `action` indexes `schema.ACTIONS`, `context` the vocabulary of contexts.
    """

    action: Int[np.ndarray, " events"]
    elapsed: Int[np.ndarray, " events"]
    played: Int[np.ndarray, " events"]
    context: Int[np.ndarray, " events"]


def encode_events(
    *,
    action: Integer[np.ndarray, " events"],
    timestamp_us: Integer[np.ndarray, " events"],
    played_fraction: Float[np.ndarray, " events"],
    context: Integer[np.ndarray, " events"],
    is_first: np.ndarray,
    has_clock: bool,
) -> EventCodes:
    """Codes of events that may belong to several listeners.

    Args:
        action: index into `schema.ACTIONS`.
        timestamp_us: microseconds since 1970, rising within a listener.
        played_fraction: 0 to 1, or -1 where unknown.
        context: code in the vocabulary of contexts.
        is_first: `[events]`, bool: a listener's first event, whose elapsed time is unknown.
        has_clock: whether timestamps are times; without, elapsed times are unknown.
    """
    elapsed_s = np.diff(timestamp_us, prepend=timestamp_us[:1]) / 1e6
    elapsed = np.log2(np.maximum(elapsed_s, 0) + 1).astype(np.int64) + 1
    elapsed = np.minimum(elapsed, NUM_ELAPSED_BUCKETS - 1)
    if not has_clock:
        elapsed = np.zeros_like(elapsed)
    played = np.where(played_fraction < 0, 0, np.minimum((played_fraction * 10).astype(np.int64), 9) + 1)
    return EventCodes(
        action=action.astype(np.int64),
        elapsed=np.where(is_first, 0, elapsed),
        played=played.astype(np.int64),
        context=context.astype(np.int64),
    )
