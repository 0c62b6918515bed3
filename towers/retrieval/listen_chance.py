"""The chance of a listen: what a listener knows and what is new to them on one calibrated scale. Knows no torch.

A logistic model of what their history says of a content (`features/familiarity`), of its artists and of its popularity
of late (`features/content_facts`), and of the inner product. Contents that the listener has chosen before have
coefficients of their own: what brings somebody back is not what makes them try.
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
"""What the model reads of a listener and a content: their familiarity, the inner product and its square, and the
logarithms of 1 + the listener's positive events with its artists, and of 1 + everybody's with it lately."""
MEASURES = {"decays": list(DECAYS), "min_age_days": MIN_AGE_DAYS, "recent_days": RECENT_DAYS}
"""What the features depend on beside the data; a model that was fitted to others cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOdds:
    """The logarithm of the odds: a sum over the features, then calibrated by a curve.

    Args:
        intercept: of the sum, where all features are 0.
        weights: `[features]`, float64.
        curve: `a + b s + c s^2` of a sum `s` (Platt's scaling with a squared term: what lies far out is often sure of
            itself beyond its right). Beyond its turning point it stays level, so that the order is that of the sums.
    """

    intercept: float
    weights: Float[np.ndarray, " features"]
    curve: tuple[float, float, float] = (0.0, 1.0, 0.0)

    def __call__(self, features: Float[np.ndarray, "pairs features"]) -> Float[np.ndarray, " pairs"]:
        """By pair."""
        constant, slope, bend = self.curve
        sums = self.sums(features)
        if bend:
            turns_at = -slope / (2 * bend)
            sums = np.minimum(sums, turns_at) if bend < 0 else np.maximum(sums, turns_at)
        return constant + slope * sums + bend * sums**2

    def sums(self, features: Float[np.ndarray, "pairs features"]) -> Float[np.ndarray, " pairs"]:
        """Before the curve."""
        return features @ self.weights + self.intercept

    def to_dict(self, features: tuple[str, ...]) -> dict[str, Any]:
        """As it is written; `features` names what the weights belong to."""
        weights = dict(zip(features, self.weights.tolist(), strict=True))
        return {"intercept": self.intercept, "weights": weights, "curve": list(self.curve)}

    @classmethod
    def from_dict(cls, written: dict[str, Any], features: tuple[str, ...]) -> "LogOdds":
        """What `to_dict` wrote; raises `KeyError` where a part of it is missing."""
        weights = np.array([written["weights"][name] for name in features])
        constant, slope, bend = written["curve"]
        return cls(intercept=written["intercept"], weights=weights, curve=(constant, slope, bend))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenChance:
    """The model.

    Args:
        heard: of contents that the listener has chosen before.
        new: of all others.
        window: within which a positive event is meant: `{"days": 14}`, or `{"events": 20}` without a clock.
        fitted: on what it was fitted, and how well its chances agree with what came, on listeners that the fit has not
            seen.
    """

    heard: LogOdds
    new: LogOdds
    window: dict[str, float]
    fitted: dict[str, Any]

    def log_odds(
        self, features: Float[np.ndarray, "pairs features"], is_chosen: Bool[np.ndarray, " pairs"]
    ) -> Float[np.ndarray, " pairs"]:
        """By pair; `features` and `is_chosen` as `pair_features` gives them."""
        return np.where(is_chosen, self.heard(features), self.new(features))

    def write(self, path: Path, space_id: str) -> None:
        """Writes it as JSON, with the space whose inner products it reads."""
        model = {"heard": self.heard.to_dict(FEATURES), "new": self.new.to_dict(FEATURES)}
        write_json(
            path, {"space_id": space_id, "window": self.window, **model, "measures": MEASURES, "fitted": self.fitted}
        )

    @classmethod
    def read(cls, path: Path, space_id: str) -> "ListenChance":
        """What `write` wrote.

        Raises:
            UserError: it is missing or damaged, belongs to another space, or was fitted to features of another kind.
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
    """What the model reads of a listener and some contents, and whether the listener chose them before.

    Args:
        met: what the listener's history says.
        chosen: rows of what they chose, repeats included.
        facts: of all contents.
        rows: of the contents that are asked for.
        affinity: of these, inner products.
    """
    features, is_chosen = met.at(rows)
    artist, popularity = facts.artist_plays(chosen, rows), facts.recent_positives[rows]
    affinity = np.asarray(affinity, np.float64)
    return np.column_stack([features, affinity, affinity**2, np.log1p(artist), np.log1p(popularity)]), is_chosen


def chance(log_odds: Float[np.ndarray, " pairs"]) -> Float[np.ndarray, " pairs"]:
    """0 to 1, of the logarithm of the odds."""
    return 1 / (1 + np.exp(-log_odds))
