"""Long-term value of a stream of each content, fitted on the plays of the simulated listeners that train an agent."""

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
"""First days of a listener that count no discovery: contents streamed then may have been known before the log began."""


def long_term_of(log: SessionLog, space: Space, until_us: int, seed: int = 0) -> Float[np.ndarray, " contents"]:
    """Returns on how many days after a discovery listeners are expected to return to the content's artist.

    The values are standardised over playable contents, so that weights compare; all 0 where the log is too short to
    fit.

    Args:
        log: plays; those at `until_us` or later are not read.
        space: space of the contents.
        until_us: end of the log, microseconds since the epoch.
        seed: seed of the draw where there is too much data to use all.
    """
    streams = np.flatnonzero((log.outcome != SKIP) & (log.start_us < until_us))
    content = log.content[streams]
    # A content without a known artist forms a group of its own.
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
