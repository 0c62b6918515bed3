"""A world of known truth: the demo world's repertoire and audience, with planted satiation, drift and returns.

Models fitted to its log can be compared with the planted parameters.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal

import numpy as np
from jaxtyping import Float, Int, Integer

from towers.contract.durations import DAY_US
from towers.simulation.audience import FOREIGN_LANGUAGE_PENALTY, TASTE_WIDTH, Audience, draw_audience
from towers.simulation.listeners.space import Space
from towers.simulation.repertoire import MUSIC_STYLES, SPEECH_STYLES, Repertoire, RepertoireBuilder

START_US: Final = 20_514 * DAY_US
"""Start of the period: Monday, 2026-03-02."""
_DIM: Final = 16
_NEW_RELEASE_SHARE: Final = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """True parameters of a world.

    Args:
        seed: seed of all random draws.
        num_listeners: number of listeners, at least 2.
        num_days: length of the period.
        num_tracks: number of tracks, at least 10.
        num_episodes: number of episodes.
        satiation: increase of the log-odds of a skip for each play of the content's region, as counted by
            `ListenerState.satiation_of`.
        recovery_hours: hours in which satiation falls to 1/e.
        drift: movement of tastes until the end of the period, relative to the demo world; 0: none.
        returns: law of returns. `hazard`: by hour, weekday and the listener's pace; `weibull`: Weibull gaps correlated
            with the gap before; `satisfaction`: like `hazard`, and later the more was skipped in the last session.
    """

    seed: int = 0
    num_listeners: int = 1000
    num_days: int = 60
    num_tracks: int = 440
    num_episodes: int = 60
    satiation: float = 0.0
    recovery_hours: float = 2.0
    drift: float = 0.0
    returns: Literal["hazard", "weibull", "satisfaction"] = "hazard"


class PlantedWorld:
    """Contents and an audience with hidden tastes.

    Args:
        plant: true parameters.
    """

    def __init__(self, plant: Plant):
        self.plant = plant
        builder = RepertoireBuilder(
            seed=plant.seed, num_days=plant.num_days, new_release_share=_NEW_RELEASE_SHARE, genre_missing_share=0.0
        )
        self.repertoire: Repertoire = builder.build(plant.num_tracks, plant.num_episodes)
        audience = draw_audience(seed=plant.seed, num_listeners=plant.num_listeners, num_days=plant.num_days)
        self.audience: Audience = replace(audience, drifts=audience.drifts * plant.drift)
        self.end_us = START_US + plant.num_days * DAY_US

    @cached_property
    def space(self) -> Space:
        """Contents as in a good export: near contents are near in the space of tastes."""
        repertoire, names = self.repertoire, (*MUSIC_STYLES, *SPEECH_STYLES)
        number = len(repertoire.pieces)
        return Space(
            space_id=f"planted-{self.plant.seed}", content_ids=repertoire.content_ids, vectors=self._vectors(),
            region=self._styles(), region_names=names, artist=repertoire.artist_rows,
            duration_ms=repertoire.durations_ms.astype(float),
            released_us=START_US + repertoire.release_days.astype(np.int64) * DAY_US,
            kind=repertoire.is_speech.astype(np.int64), kinds=("track", "episode"), is_playable=np.ones(number, bool),
            plays=np.zeros(number),
        )  # fmt: skip

    def _vectors(self) -> Float[np.ndarray, "contents dim"]:
        # An orthonormal map keeps distances and angles, and leaves no coordinate with a meaning.
        rng = np.random.default_rng([self.plant.seed, 31])
        places = self.repertoire.places - self.repertoire.places.mean(axis=0)
        turned = places @ np.linalg.qr(rng.normal(size=(_DIM, places.shape[1])))[0].T
        return (turned / np.linalg.norm(turned, axis=1, keepdims=True)).astype(np.float32)

    def _styles(self) -> Int[np.ndarray, " contents"]:
        """Returns the style nearest to each content's audible traits, music for music and speech for speech."""
        centres = np.array([*MUSIC_STYLES.values(), *SPEECH_STYLES.values()])
        squares = ((self.repertoire.traits[:, None] - centres) ** 2).sum(axis=-1)
        is_speech = np.arange(len(centres)) >= len(MUSIC_STYLES)
        return np.where(is_speech == self.repertoire.is_speech[:, None], squares, np.inf).argmin(axis=1)

    @cached_property
    def _squares(self) -> tuple[Float[np.ndarray, "listeners tastes contents"], ...]:
        """Squared distances of tastes to contents at the start of the period, and their change with progress."""
        places = self.repertoire.places
        centres, drifts = self.audience.centres, self.audience.drifts
        at_start = (centres**2).sum(axis=-1)[..., None] - 2.0 * centres @ places.T + (places**2).sum(axis=-1)
        slope = 2.0 * ((centres * drifts).sum(axis=-1)[..., None] - drifts @ places.T)
        return at_start.astype(np.float32), slope.astype(np.float32)

    def affinity(
        self, rows: Integer[np.ndarray, " some"], time_us: Integer[np.ndarray, " some"]
    ) -> Float[np.ndarray, "some contents"]:
        """Returns how well contents match the tastes of listeners at their times; `Audience.affinity` for many."""
        at_start, slope = self._squares
        progress = ((time_us - START_US) / (self.end_us - START_US)).astype(np.float32)[:, None]
        squares = at_start[rows]
        if self.plant.drift:
            moved = progress**2 * (self.audience.drifts[rows] ** 2).sum(axis=-1).astype(np.float32)
            squares = squares + progress[..., None] * slope[rows] + moved[..., None]
        matches = self.audience.log_weights[rows].astype(np.float32)[..., None] - squares / (2.0 * TASTE_WIDTH**2)
        best = matches.max(axis=1)
        mixture = best + np.log(np.exp(matches - best[:, None]).sum(axis=1))
        understands = np.append(self.audience.understands, np.ones((len(self.audience), 1), bool), axis=1)
        return mixture - FOREIGN_LANGUAGE_PENALTY * ~understands[rows][:, self.repertoire.language_codes]
