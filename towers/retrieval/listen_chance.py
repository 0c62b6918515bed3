"""Model of the chance of a listen, which puts known and new contents on one calibrated scale. Imports no torch.

A logistic model of the listener's history with a content (`features/familiarity`), of its artists and its recent
popularity (`features/content_facts`), and of the inner product. Contents that the listener has chosen before have
separate coefficients, because listeners return to contents for other reasons than they try new ones.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer

from towers.errors import UserError
from towers.features.content_facts import RECENT_DAYS, ContentFacts
from towers.features.familiarity import DECAYS, MIN_AGE_DAYS, NAMES, Familiarity
from towers.manifest import read_json, write_json

FEATURES = (*NAMES, "affinity", "affinity_squared", "artist", "popularity")
"""Features of a listener and a content: their familiarity, the inner product and its square, log(1 + the listener's
positive events with its artists), and log(1 + all listeners' recent positive events with it)."""
MEASURES = {"decays": list(DECAYS), "min_age_days": MIN_AGE_DAYS, "recent_days": RECENT_DAYS}
"""Constants on which the features depend; a model that was fitted with other constants cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOdds:
    """Log-odds as a weighted sum of features, calibrated by a curve.

    Args:
        intercept: value of the sum if all features are 0.
        weights: `[features]`, float64.
        curve: coefficients of `a + b s + c s^2` for a sum `s` (Platt scaling with a squared term, as extreme sums are
            often overconfident). Beyond its turning point the curve is constant, so that it keeps the order of sums.
    """

    intercept: float
    weights: Float[np.ndarray, " features"]
    curve: tuple[float, float, float] = (0.0, 1.0, 0.0)

    def __call__(self, features: Float[np.ndarray, "pairs features"]) -> Float[np.ndarray, " pairs"]:
        """Returns the calibrated log-odds of each pair."""
        constant, slope, bend = self.curve
        sums = self.sums(features)
        if bend:
            turns_at = -slope / (2 * bend)
            sums = np.minimum(sums, turns_at) if bend < 0 else np.maximum(sums, turns_at)
        return constant + slope * sums + bend * sums**2

    def sums(self, features: Float[np.ndarray, "pairs features"]) -> Float[np.ndarray, " pairs"]:
        """Returns the weighted sums of each pair, before calibration."""
        return features @ self.weights + self.intercept

    def to_dict(self, features: tuple[str, ...]) -> dict[str, Any]:
        """Returns a form for JSON; `features` are the names of the weights' features."""
        weights = dict(zip(features, self.weights.tolist(), strict=True))
        return {"intercept": self.intercept, "weights": weights, "curve": list(self.curve)}

    @classmethod
    def from_dict(cls, written: dict[str, Any], features: tuple[str, ...]) -> "LogOdds":
        """Restores the output of `to_dict`; raises `KeyError` if a part is missing."""
        weights = np.array([written["weights"][name] for name in features])
        constant, slope, bend = written["curve"]
        return cls(intercept=written["intercept"], weights=weights, curve=(constant, slope, bend))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenChance:
    """Model of the chance that a listener listens to a content within a window of time.

    Args:
        heard: log-odds of contents that the listener has chosen before.
        new: log-odds of all others.
        window: window in which a positive event counts as a listen: `{"days": 14}`, or `{"events": 20}` without
            timestamps.
        fitted: facts about the data of the fit, and its calibration on held-out listeners.
    """

    heard: LogOdds
    new: LogOdds
    window: dict[str, float]
    fitted: dict[str, Any]

    def log_odds(
        self, features: Float[np.ndarray, "pairs features"], is_chosen: Bool[np.ndarray, " pairs"]
    ) -> Float[np.ndarray, " pairs"]:
        """Returns the log-odds of each pair, from the results of `pair_features`."""
        return np.where(is_chosen, self.heard(features), self.new(features))

    def write(self, path: Path, space_id: str) -> None:
        """Writes the model as JSON, with the id of the space whose inner products it reads."""
        model = {"heard": self.heard.to_dict(FEATURES), "new": self.new.to_dict(FEATURES)}
        write_json(
            path, {"space_id": space_id, "window": self.window, **model, "measures": MEASURES, "fitted": self.fitted}
        )

    @classmethod
    def read(cls, path: Path, space_id: str) -> "ListenChance":
        """Reads a file of `write`.

        Raises:
            UserError: the file is missing or damaged, belongs to another space, or was fitted to other features.
        """
        written = read_json(path)
        try:
            if written["space_id"] != space_id:
                found = written["space_id"]
                raise UserError(f"{path}: space_id {found} is not the export's {space_id}; copy the export again")
            if written["measures"] != MEASURES:
                raise UserError(f"{path}: fitted to features that this version does not have; make the export again")
            heard, new = (LogOdds.from_dict(written[name], FEATURES) for name in ("heard", "new"))
            return cls(heard=heard, new=new, window=written["window"], fitted=written["fitted"])
        except KeyError as error:
            raise UserError(f"{path}: {error} is missing; make or copy the export again") from error


def pair_features(
    met: Familiarity,
    chosen: Integer[np.ndarray, " chosen"],
    facts: ContentFacts,
    rows: Integer[np.ndarray, " rows"],
    affinity: Float[np.ndarray, " rows"],
) -> tuple[Float[np.ndarray, "rows features"], Bool[np.ndarray, " rows"]]:
    """Returns the features of a listener with each of the contents `rows`, and whether they chose it before.

    Args:
        met: familiarity of the listener with the contents of their history.
        chosen: content rows of the listener's positive events, repeats included.
        facts: facts about all contents.
        rows: rows of the contents to describe.
        affinity: inner products of these contents with the listener's vector.
    """
    features, is_chosen = met.at(rows)
    artist, popularity = facts.artist_plays(chosen, rows), facts.recent_positives[rows]
    affinity = np.asarray(affinity, np.float64)
    return np.column_stack([features, affinity, affinity**2, np.log1p(artist), np.log1p(popularity)]), is_chosen


def chance(log_odds: Float[np.ndarray, " pairs"]) -> Float[np.ndarray, " pairs"]:
    """Converts log-odds to probabilities."""
    return 1 / (1 + np.exp(-log_odds))
