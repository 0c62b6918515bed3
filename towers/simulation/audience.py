"""The audience of the demo world: listeners, their hidden tastes and how well a content matches them."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.simulation.repertoire import (
    MUSIC_STYLES,
    NUM_DIMS,
    NUM_UNHEARD,
    SPEECH_COORDINATE,
    SPEECH_STYLES,
    Repertoire,
    opaque_id,
)
from towers.simulation.synthesis import LANGUAGES, TRAITS

MAX_TASTES: Final = 3
_NUM_TASTES_SHARES: Final = (0.35, 0.4, 0.25)  # shares of listeners with one, two and three tastes
_SPEECH_TASTE_SHARE: Final = 0.15

# Standard deviations in units of a trait: of a taste around its style, and of its drift over the whole period.
_TASTE_SPREAD: Final = 0.5
_UNHEARD_TASTE_SPREAD: Final = 1.0
_DRIFT_SPREAD: Final = 0.4

# Standard deviation of the Gaussian around a taste, in units of a trait.
TASTE_WIDTH: Final = 1.2
FOREIGN_LANGUAGE_PENALTY: Final = 2.5

_RATE_SPREAD: Final = 0.7  # standard deviation of the logarithm of a listener's activity
_LATECOMER_SHARE: Final = 0.15

COUNTRIES: Final = ("DE", "BR", "US", "JP", "PT", "SE")
AGE_BANDS: Final = ("18-24", "25-34", "35-44", "45+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """All listeners; every array has a row for each listener.

    Args:
        user_ids: opaque ids.
        centres: `[listeners, MAX_TASTES, NUM_DIMS]`, the tastes at the start of the period.
        drifts: `[listeners, MAX_TASTES, NUM_DIMS]`, movement of each taste until the end of the period.
        log_weights: `[listeners, MAX_TASTES]`, log-weights of the tastes; minus infinity for a missing taste.
        understands: `[listeners, languages]`, whether a listener understands a language.
        activity: `[listeners]`, relative activity, mean about 1.
        join_days: `[listeners]`, earliest day of the first session.
        countries: country of each listener, independent of taste.
        age_bands: age band of each listener, independent of taste.
        is_deleted: `[listeners]`, whether the listener asked to be forgotten.
    """

    user_ids: list[str]
    centres: Float[np.ndarray, "listeners tastes dims"]
    drifts: Float[np.ndarray, "listeners tastes dims"]
    log_weights: Float[np.ndarray, "listeners tastes"]
    understands: Bool[np.ndarray, "listeners languages"]
    activity: Float[np.ndarray, " listeners"]
    join_days: Int[np.ndarray, " listeners"]
    countries: list[str]
    age_bands: list[str]
    is_deleted: Bool[np.ndarray, " listeners"]

    def __len__(self) -> int:
        return len(self.user_ids)

    def affinity(self, repertoire: Repertoire, listener: int, progress: float) -> Float[np.ndarray, " contents"]:
        """Returns how well each content matches the listener's tastes; higher is better, at most 0.

        It is the logarithm of an unnormalised mixture of Gaussians, so the best-matching taste dominates.

        Args:
            repertoire: contents.
            listener: row of the listener.
            progress: time, from 0 at the start of the period to 1 at its end.
        """
        centres = self.centres[listener] + progress * self.drifts[listener]
        squares = ((repertoire.places[None] - centres[:, None]) ** 2).sum(axis=-1)
        matches = self.log_weights[listener][:, None] - squares / (2.0 * TASTE_WIDTH**2)
        # Speech has the code of a language; music's -1 picks the appended column, which all listeners understand.
        understands = np.append(self.understands[listener], True)[repertoire.language_codes]
        return np.logaddexp.reduce(matches, axis=0) - FOREIGN_LANGUAGE_PENALTY * ~understands


def draw_audience(*, seed: int, num_listeners: int, num_days: int) -> Audience:
    """Draws `num_listeners` listeners; one in 350, but at least one, is deleted."""
    rng = np.random.default_rng([seed, 2])
    shape = (num_listeners, MAX_TASTES)
    num_tastes = 1 + rng.choice(MAX_TASTES, size=num_listeners, p=_NUM_TASTES_SHARES)
    weights = rng.gamma(2.0, size=shape) * (np.arange(MAX_TASTES) < num_tastes[:, None])
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights / weights.sum(axis=1, keepdims=True))
    drifts = rng.normal(0.0, _DRIFT_SPREAD, (*shape, NUM_DIMS))
    drifts[..., -1] = 0.0
    late = rng.integers(0, num_days, num_listeners)
    return Audience(
        user_ids=[opaque_id("u", seed, row) for row in range(num_listeners)],
        centres=_draw_centres(rng, shape),
        drifts=drifts,
        log_weights=log_weights,
        understands=_draw_languages(rng, num_listeners),
        activity=rng.lognormal(-0.5 * _RATE_SPREAD**2, _RATE_SPREAD, num_listeners),
        join_days=np.where(rng.random(num_listeners) < _LATECOMER_SHARE, late, 0),
        countries=rng.choice(COUNTRIES, num_listeners).tolist(),
        age_bands=rng.choice(AGE_BANDS, num_listeners).tolist(),
        is_deleted=rng.permutation(num_listeners) < max(1, num_listeners // 350),
    )


def _draw_centres(rng: np.random.Generator, shape: tuple[int, int]) -> Float[np.ndarray, "listeners tastes dims"]:
    """Draws tastes around the styles, as people learn to like what exists."""
    music, speech = np.array(list(MUSIC_STYLES.values())), np.array(list(SPEECH_STYLES.values()))
    is_speech = rng.random(shape) < _SPEECH_TASTE_SHARE
    style = np.where(
        is_speech[..., None],
        speech[rng.integers(len(speech), size=shape)],
        music[rng.integers(len(music), size=shape)],
    )
    heard = style + rng.normal(0.0, _TASTE_SPREAD, (*shape, len(TRAITS)))
    unheard = rng.normal(0.0, _UNHEARD_TASTE_SPREAD, (*shape, NUM_UNHEARD))
    return np.concatenate([heard, unheard, SPEECH_COORDINATE * is_speech[..., None]], axis=-1)


def _draw_languages(rng: np.random.Generator, num_listeners: int) -> Bool[np.ndarray, "listeners languages"]:
    """Draws one language for each listener, and a second one for about a third."""
    first = rng.integers(len(LANGUAGES), size=num_listeners)
    second = rng.integers(len(LANGUAGES), size=num_listeners)
    has_second = rng.random(num_listeners) < 0.4
    codes = np.arange(len(LANGUAGES))
    return (codes == first[:, None]) | ((codes == second[:, None]) & has_second[:, None])
