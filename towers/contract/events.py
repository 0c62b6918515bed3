"""The meaning of an event for its content: positive, refused, heard.

Defined here once for training, evaluation, serving and everything that is made from the space.
"""

from datetime import UTC, datetime

import numpy as np
from jaxtyping import Bool, Float, Integer

from towers.contract.schema import ACTION_CODES, ACTIONS, ACTIONS_WITHOUT_CONTENT, DISLIKE, LIKE, PLAY, SAVE, SKIP

LIKES = (LIKE, SAVE)
"""Actions that say by themselves that a listener wants a content."""
REFUSALS = (SKIP, DISLIKE)
"""Actions that say that a listener does not want a content now."""
LOOKS = tuple(ACTION_CODES[action] for action in ACTIONS_WITHOUT_CONTENT)
"""Actions that may name a content and yet do not play it."""
# By action code: a serving machine asks this at every request, and a look-up is twenty times as fast as np.isin.
_IS_LIKE, _IS_REFUSAL, _IS_LOOK = (np.isin(np.arange(len(ACTIONS)), actions) for actions in (LIKES, REFUSALS, LOOKS))


def is_positive(
    *,
    content_row: Integer[np.ndarray, "*events"],
    action: Integer[np.ndarray, "*events"],
    played_fraction: Float[np.ndarray, "*events"],
    min_played_fraction: float,
) -> Bool[np.ndarray, "*events"]:
    """Returns whether an event says that its listener chose the content: a like, a save, or a long enough play.

    Args:
        content_row: row of the content; below 0 where the event names no known content.
        action: index into `schema.ACTIONS`.
        played_fraction: 0 to 1 in the precision in which it was divided, or below 0 where it is unknown; such a play
            counts as played in full.
        min_played_fraction: least played fraction of a positive play, `features.min_played_fraction`.
    """
    is_long_enough = (played_fraction < 0) | (played_fraction >= min_played_fraction)
    return (content_row >= 0) & (_IS_LIKE[action] | ((action == PLAY) & is_long_enough))


def is_refused(
    *, content_row: Integer[np.ndarray, "*events"], action: Integer[np.ndarray, "*events"]
) -> Bool[np.ndarray, "*events"]:
    """Returns whether an event says that its listener does not want the content now: a skip or a dislike."""
    return (content_row >= 0) & _IS_REFUSAL[action]


def is_like(action: Integer[np.ndarray, "*events"]) -> Bool[np.ndarray, "*events"]:
    """Returns whether an event says by itself that its listener wants the content: a like or a save."""
    return _IS_LIKE[action]


def is_heard(
    *, content_row: Integer[np.ndarray, "*events"], action: Integer[np.ndarray, "*events"]
) -> Bool[np.ndarray, "*events"]:
    """Returns whether an event says that its listener knows the content: any that names one, except a search or visit.

    A play is heard however short it was, and so is a content whose save was taken back (`unsave`). What is refused is
    heard, too.
    """
    return (content_row >= 0) & ~_IS_LOOK[action]


def microseconds_of(time: datetime) -> int:
    """A time in microseconds since 1970, exactly; one that names no zone is in UTC."""
    aware = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
