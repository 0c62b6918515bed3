"""A listener's events: what each says of the content that it names, and their codes, which the user tower reads.

What is positive, refused and heard is defined here for training, evaluation and serving.
`towers/data/sql/histories.sql` says the first in SQL; a test holds the two together.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.schema import ACTION_CODES, ACTIONS, ACTIONS_WITHOUT_CONTENT, DISLIKE, LIKE, PLAY, SAVE, SKIP

NUM_ACTIONS = len(ACTIONS)
NUM_ELAPSED_BUCKETS = 26
"""0: unknown (the first event, or no clock); 1 to 25: from under a second to over half a year, by octaves."""
NUM_PLAYED_BUCKETS = 11
"""0: unknown; 1 to 10: tenths of the duration."""

UNKNOWN_ELAPSED = -1

LIKES = (LIKE, SAVE)
"""Actions that say by themselves that a listener wants a content."""
REFUSALS = (SKIP, DISLIKE)
"""Actions that say that a listener does not want a content now."""
LOOKS = tuple(ACTION_CODES[action] for action in ACTIONS_WITHOUT_CONTENT)
"""Actions that may name a content and yet do not play it."""
# By action code: a serving machine asks this at every request, and a look-up is twenty times as fast as np.isin.
_IS_LIKE, _IS_REFUSAL, _IS_LOOK = (np.isin(np.arange(NUM_ACTIONS), actions) for actions in (LIKES, REFUSALS, LOOKS))


def is_positive(
    *,
    content_row: Integer[np.ndarray, "*events"],
    action: Integer[np.ndarray, "*events"],
    played_fraction: Float[np.ndarray, "*events"],
    min_played_fraction: float,
) -> Bool[np.ndarray, "*events"]:
    """Whether an event says that its listener chose the content: a like, a save, or a play that went on long enough.

    Args:
        content_row: of the content; below 0 where the event names none that is known.
        action: index into `schema.ACTIONS`.
        played_fraction: 0 to 1 in the precision in which it was divided, or below 0 where it is unknown; such a play
            counts as played in full.
        min_played_fraction: from which fraction on a play is long enough, as `features.min_played_fraction` says.
    """
    is_long_enough = (played_fraction < 0) | (played_fraction >= min_played_fraction)
    return (content_row >= 0) & (_IS_LIKE[action] | ((action == PLAY) & is_long_enough))


def is_refused(
    *, content_row: Integer[np.ndarray, "*events"], action: Integer[np.ndarray, "*events"]
) -> Bool[np.ndarray, "*events"]:
    """Whether an event says that its listener does not want the content now: a skip or a dislike."""
    return (content_row >= 0) & _IS_REFUSAL[action]


def is_heard(
    *, content_row: Integer[np.ndarray, "*events"], action: Integer[np.ndarray, "*events"]
) -> Bool[np.ndarray, "*events"]:
    """Whether an event says that its listener knows the content: any that names one, but for a search or a visit.

    A play is heard however short it was, and so is a content whose save was taken back (`unsave`). What is refused is
    heard, too.
    """
    return (content_row >= 0) & ~_IS_LOOK[action]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCodes:
    """Codes of events, all int64 and of one shape.

    `action` indexes `schema.ACTIONS`, `context` the vocabulary of contexts.
    """

    action: Int[np.ndarray, "*events"]
    elapsed: Int[np.ndarray, "*events"]
    played: Int[np.ndarray, "*events"]
    context: Int[np.ndarray, "*events"]


def microseconds_of(time: datetime) -> int:
    """A time in microseconds since 1970, exactly; one that names no zone is in UTC."""
    aware = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


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
