"""A small check, made once for all tests that look at it."""

from functools import cache

import numpy as np

from tests.simulation.checks import logs
from tests.simulation.checks.logs import BEGIN_US, END_US, SPACE
from towers.simulation.checks.check import Checked, CheckSettings, check
from towers.simulation.checks.skip_prediction import SkipData

LISTENERS = 24
SETTINGS = CheckSettings(resamples=20, splits=10, trees=10)


def skips_of(real):
    """Returns correct chances of plays that are predictable in part, and the classifier's one feature."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(len(real), 1))
    chances = 1 / (1 + np.exp(-2 * features[:, 0]))
    return SkipData(
        predicted=chances, features=features, is_skip=generator.random(len(real)) < chances, listener=real.listener,
        fit_features=features, fit_is_skip=generator.random(len(real)) < chances,
    )  # fmt: skip


@cache
def checked(skips: float = 3.0) -> Checked:
    """Returns a check of listeners who skip more often than the real ones."""
    whole = logs.listened(LISTENERS, seed=1)
    real = whole.between(BEGIN_US, END_US)
    simulated = [logs.listened(LISTENERS, seed=2, begin_us=BEGIN_US, skips=skips)]
    return check(real, simulated, whole.between(0, BEGIN_US), SPACE, BEGIN_US, END_US, skips=skips_of(real),
                 seen_listeners=0, seen_period=False, settings=SETTINGS)  # fmt: skip
