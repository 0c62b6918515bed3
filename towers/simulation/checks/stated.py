"""The statistics that a simulator is checked on, with their limits."""

from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.contract.durations import DAY_US
from towers.simulation.checks.heard import LAST, Heard
from towers.simulation.checks.statistics import Cells, Concentration, Rates, Shape, Statistic
from towers.simulation.listeners.session_log import FINISH, SKIP, SessionLog
from towers.simulation.listeners.space import Space

POSITIONS = 20
"""Number of session positions whose skip rate is compared."""
FEWEST = 2_500
"""Real plays that a bin of a rate needs for its limit to apply; so many give the rate to within 2 points."""
LONGEST_SESSION, LONGEST_RUN = 200, 50
"""Longest session and longest run of skips that are distinguished; longer ones count as these."""
DAYS = (1, 7, 28)
FAMILIARITY = (0, 1, 2, 4, 8)
AMONG_LAST = (0, 1, 2, 3)
REPEATS_AMONG_LAST = (0, 5, 10, 15)
"""Lower bounds of the bins of the three statistics."""
GAP_STEP, GAP_CELLS = 1.01, 1_350
"""Cells of gaps: from one minute on, each longer by a hundredth, up to two years."""

Observed = tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]
"""Listener, bin, and whether the observation counts for the share."""


def stated(space: Space, end_us: int) -> tuple[Statistic, ...]:
    """Returns all statistics, in the order in which they are reported.

    Args:
        space: space of the played contents.
        end_us: end of the period; contents released later could not be played.
    """
    return (
        Rates(
            name="skip_by_position", title="Skips by position in the session", limit=0.02, fewest=FEWEST,
            words=f"Share of plays that were skipped at each of the first {POSITIONS} positions of a session.",
            bins=tuple(str(at + 1) for at in range(POSITIONS)), observe=_skips_by_position,
        ),
        Rates(
            name="finish_by_familiarity", title="Finishes by familiarity", limit=0.03, fewest=FEWEST,
            words="Share of plays that were finished, by how often the listener had played the content before.",
            bins=_labels(FAMILIARITY), observe=_finishes_by_familiarity,
        ),
        Rates(
            name="finish_by_recent_plays", title="Finishes by recent plays of the same content", limit=0.03,
            fewest=FEWEST,
            words=f"Share of plays that were finished, by how many of the listener's last {LAST} plays were of "
                  "this content.",
            bins=_labels(AMONG_LAST), observe=_finishes_by_recent_plays,
        ),
        Rates(
            name="finish_by_repeats", title="Finishes by repeats", limit=0.03, fewest=FEWEST,
            words=f"Share of plays that were finished, by how many of the listener's last {LAST} plays were of "
                  "contents that they had played before.",
            bins=_labels(REPEATS_AMONG_LAST), observe=_finishes_by_repeats,
        ),
        Shape(
            name="session_length", title="Session length", limit=0.05, told="KS",
            words="Number of plays of a session.",
            values=tuple(str(one + 1) for one in range(LONGEST_SESSION)), observe=_session_lengths,
        ),
        Shape(
            name="session_gap", title="Time between sessions", limit=0.07, told="KS",
            words="Hours from the end of a session to the beginning of the listener's next, both in the period; "
                  "a gap is known to 1 %.",
            values=tuple(f"{GAP_STEP**one / 60:.3g}" for one in range(GAP_CELLS)), observe=partial(_gaps, space=space),
        ),
        *(
            Rates(
                name=f"return_{days}", title=f"Return within {days} day{'s' * (days > 1)}", limit=0.02,
                words=f"Share of sessions after which the listener began another one within {days} "
                      f"day{'s' * (days > 1)}, of those with as much time left in the period.",
                bins=("all",), observe=partial(_returns, space=space, days=days),
            )
            for days in DAYS
        ),
        Shape(
            name="skip_runs", title="Runs of skips", limit=0.05, told="total variation",
            words="Number of skips in a row within a session.",
            values=tuple(str(one + 1) for one in range(LONGEST_RUN)), observe=_skip_runs,
        ),
        Rates(
            name="repeat_share", title="Repeats", limit=0.03,
            words="Share of plays of contents that the listener had played before.",
            bins=("all",), observe=_repeats,
        ),
        Concentration(
            name="popularity_gini", title="Concentration on popular contents", limit=0.03,
            words="Gini coefficient of plays over the contents that could be played.",
            could_be_played=space.is_playable & (space.released_us < end_us),
        ),
    )  # fmt: skip


def played_us(log: SessionLog, space: Space) -> Int[np.ndarray, " plays"]:
    """Returns how long each play took, microseconds."""
    return (log.fraction.astype(np.float64) * space.duration_ms[log.content] * 1_000).astype(np.int64)


def session_ends_us(log: SessionLog, space: Space) -> Int[np.ndarray, " sessions"]:
    """Returns when the last play of each session ended, microseconds since 1970, UTC."""
    return (log.start_us + played_us(log, space))[log.session_begins + log.session_lengths - 1]


def skip_runs(log: SessionLog) -> tuple[Int[np.ndarray, " runs"], Int[np.ndarray, " runs"]]:
    """Returns the index of the first play of each run of skips in a session, and the run's length."""
    is_skip = log.outcome == SKIP
    follows = np.concatenate([[False], is_skip[:-1] & (np.diff(log.session) == 0)]) if len(log) else is_skip
    begins = np.flatnonzero(is_skip & ~follows)
    total = np.cumsum(is_skip)
    return begins, np.diff(total[begins] - 1, append=total[-1] if len(total) else 0)


def _labels(least: tuple[int, ...]) -> tuple[str, ...]:
    pairs = zip(least, (*least[1:], None), strict=True)
    return tuple(f"{low}+" if up is None else str(low) if up == low + 1 else f"{low}–{up - 1}" for low, up in pairs)


def _bins(numbers: Int[np.ndarray, " n"], least: tuple[int, ...]) -> Int[np.ndarray, " n"]:
    return np.searchsorted(np.array(least), numbers, side="right") - 1


def _skips_by_position(heard: Heard) -> Observed:
    early = heard.log.position < POSITIONS
    return heard.log.listener[early], heard.log.position[early], heard.log.outcome[early] == SKIP


def _finishes(heard: Heard, bin_of: Int[np.ndarray, " plays"]) -> Observed:
    return heard.log.listener, bin_of, heard.log.outcome == FINISH


def _finishes_by_familiarity(heard: Heard) -> Observed:
    return _finishes(heard, _bins(heard.earlier, FAMILIARITY))


def _finishes_by_recent_plays(heard: Heard) -> Observed:
    return _finishes(heard, _bins(heard.among_last, AMONG_LAST))


def _finishes_by_repeats(heard: Heard) -> Observed:
    return _finishes(heard, _bins(heard.repeats_among_last, REPEATS_AMONG_LAST))


def _repeats(heard: Heard) -> Observed:
    return heard.log.listener, np.zeros(len(heard.log), np.int64), heard.earlier > 0


def _session_lengths(heard: Heard) -> Cells:
    lengths = np.minimum(heard.log.session_lengths, LONGEST_SESSION) - 1
    return heard.log.listener[heard.log.session_begins], lengths


def _skip_runs(heard: Heard) -> Cells:
    begins, lengths = skip_runs(heard.log)
    return heard.log.listener[begins], np.minimum(lengths, LONGEST_RUN) - 1


def _gaps(heard: Heard, *, space: Space) -> Cells:
    listener, gap_us = gaps_us(heard.log, space)
    is_inside = np.isfinite(gap_us)
    minutes = np.maximum(gap_us[is_inside] / 60e6, 1.0)
    cell = np.minimum(np.log(minutes) / np.log(GAP_STEP), GAP_CELLS - 1).astype(np.int64)
    return listener[is_inside], cell


def _returns(heard: Heard, *, space: Space, days: int) -> Observed:
    listener, gap_us = gaps_us(heard.log, space)
    has_time = session_ends_us(heard.log, space) + days * DAY_US <= heard.end_us
    came = gap_us <= days * DAY_US
    return listener[has_time], np.zeros(int(has_time.sum()), np.int64), came[has_time]


def gaps_us(log: SessionLog, space: Space) -> tuple[Int[np.ndarray, " sessions"], Float[np.ndarray, " sessions"]]:
    """Returns each session's listener and the microseconds to their next session, infinite if none follows."""
    listener, starts = log.listener[log.session_begins], log.start_us[log.session_begins]
    gap = np.full(len(starts), np.inf)
    if len(starts) > 1:
        is_followed = np.diff(listener) == 0
        gap[:-1][is_followed] = (starts[1:] - session_ends_us(log, space)[:-1])[is_followed]
    return listener, gap
