"""Features that the learned mixture reads of a listener and of contents that are new to them."""

import numpy as np
from jaxtyping import Float, Int

from towers.contract.schema import SKIP
from towers.policies.tastes import Tastes
from towers.retrieval.co_listening import Neighbours
from towers.retrieval.encoders import Events
from towers.retrieval.export import Export

NEAREST = 5
"""A content's nearness is its mean inner product with this number of chosen contents, those nearest to it."""
LATELY = 200
"""Number of the listener's latest distinct choices that nearness and co-listening are computed from."""
LEAST_LISTENED_WITH = 0.05
"""Offset before the logarithm, for contents without such neighbours."""
FRESH_DAYS = 30
OLDEST_DAYS = 3_000.0
"""Largest age of a content; an unknown age counts as this one."""


def mixture_features(
    export: Export,
    events: Events,
    tastes: Tastes,
    rows: Int[np.ndarray, " rows"],
    affinity: Float[np.ndarray, " rows"],
    chance: Float[np.ndarray, " rows"],
) -> Float[np.ndarray, "rows features"]:
    """Returns the features of contents for a listener, in the order of `retrieval.mixture.FEATURES`, float64.

    Args:
        export: export of the contents.
        events: all events of the listener, in time order.
        tastes: the listener's tastes.
        rows: rows of the contents, each once.
        affinity: inner products of these contents with the listener's vector.
        chance: log odds of a listen to these contents by `listen_chance`.
    """
    vectors = export.vectors[rows]
    chosen = last_chosen(events)
    together = listened_with(export.co_listening, chosen, rows)
    skipped = events.content_row[(events.action == SKIP) & (events.content_row >= 0)].astype(np.int64)
    age = export.age_days[rows]
    return np.column_stack(
        [
            affinity,
            tastes.affinity(vectors).max(axis=1),
            chance,
            together,
            np.log(together + LEAST_LISTENED_WITH),
            nearest_chosen(vectors, export.vectors[chosen]),
            np.log1p(export.facts.artist_plays(skipped, rows)),
            np.log1p(export.facts.recent_positives[rows]),
            np.log1p(np.clip(np.nan_to_num(age, nan=OLDEST_DAYS), 0, OLDEST_DAYS)),
            age < FRESH_DAYS,
        ]
    ).astype(np.float64)


def last_chosen(events: Events) -> Int[np.ndarray, " chosen"]:
    """Returns the last `LATELY` distinct contents that were chosen, sorted."""
    newest_first = events.chosen_rows[::-1]
    rows, first = np.unique(newest_first, return_index=True)
    return rows if len(rows) <= LATELY else np.sort(rows[np.argsort(first)[:LATELY]])


def listened_with(
    neighbours: Neighbours | None, chosen: Int[np.ndarray, " chosen"], rows: Int[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """Returns how much each content is chosen together with a listener's choices: the sum of its weights among the
    neighbours of these choices, over the square root of their number; 0 without neighbours.

    Args:
        neighbours: neighbours by co-listening; null where the export has none.
        chosen: distinct contents that the listener chose.
        rows: rows of the contents to score, each once.
    """
    if neighbours is None or not len(chosen):
        return np.zeros(len(rows))
    places, _, weights = neighbours.among(chosen, rows)
    return np.bincount(places, weights, minlength=len(rows)) / np.sqrt(len(chosen))


def nearest_chosen(
    vectors: Float[np.ndarray, "rows dim"], chosen: Float[np.ndarray, "chosen dim"]
) -> Float[np.ndarray, " rows"]:
    """Returns the mean inner product of each content with the `NEAREST` nearest choices; 0 without choices."""
    if not len(chosen):
        return np.zeros(len(vectors))
    products = vectors @ chosen.T
    if products.shape[1] > NEAREST:
        products = np.partition(products, products.shape[1] - NEAREST, axis=1)[:, -NEAREST:]
    return products.mean(axis=1, dtype=np.float64)
