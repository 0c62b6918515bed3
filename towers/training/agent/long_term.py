"""What a stream of each content is worth later, by the plays of the listeners that an agent is trained among."""

import numpy as np
from jaxtyping import Float

from towers.contract.durations import DAY_US
from towers.errors import DataLacks
from towers.policies.long_term.fitting import fit_returns
from towers.policies.long_term.outcomes import outcomes_of_streams
from towers.policies.long_term.progressive import evidence_of, expected_returns
from towers.simulation.listeners.session_log import SKIP, SessionLog
from towers.simulation.listeners.space import Space

DAYS = 59
BURN_IN_DAYS = 7
"""What somebody streams in their first days they may have known before the log."""


def long_term_of(log: SessionLog, space: Space, until_us: int, seed: int = 0) -> Float[np.ndarray, " contents"]:
    """On how many of the days after its discovery listeners come back to a content's artist, over the mean of all.

    Standardised, so that a weight of it compares with others; 0 for all where the log is too short to tell.

    Args:
        log: plays; those from `until_us` on are not read.
        space: of the contents.
        until_us: when the log ends.
        seed: of what is drawn where there is too much.
    """
    streams = np.flatnonzero((log.outcome != SKIP) & (log.start_us < until_us))
    content = log.content[streams]
    # A content without a known artist is come back to by itself.
    artist = space.artist[content]
    group = np.where(artist >= 0, artist, int(space.artist.max(initial=-1)) + 1 + content)
    outcomes = outcomes_of_streams(
        listener=log.listener[streams], content=content, group=group, day=log.start_us[streams] // DAY_US,
        end_day=until_us // DAY_US, days=DAYS, burn_in_days=BURN_IN_DAYS,
    )  # fmt: skip
    try:
        model = fit_returns(outcomes, space.vectors, seed=seed).model
    except DataLacks:
        return np.zeros(len(space))
    evidence = evidence_of(model, outcomes.up_to(model.days), len(space))
    expected = expected_returns(model, evidence, space.vectors).expected
    playable = expected[space.is_playable]
    return np.where(space.is_playable, (expected - playable.mean()) / max(float(playable.std()), 1e-9), 0.0)
