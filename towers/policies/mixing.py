"""What the learnt mixture reads of a listener and contents that are new to them."""

import numpy as np
from jaxtyping import Float, Int

from towers.contract.schema import SKIP
from towers.policies.tastes import Tastes
from towers.retrieval.co_listening import Neighbours
from towers.retrieval.encoders import Events
from towers.retrieval.export import Export

NEAREST = 5
"""The nearness of a content is its mean inner product with this number of chosen contents, those nearest to it."""
LATELY = 200
"""Different contents, the last that a listener chose, which nearness and co-listening are read off."""
LEAST_LISTENED_WITH = 0.05
"""Added before the logarithm, so that a content without such neighbours has one."""
FRESH_DAYS = 30
OLDEST_DAYS = 3_000.0
"""A content of unknown or of greater age counts as this old."""


def mixture_features(
    export: Export,
    events: Events,
    tastes: Tastes,
    rows: Int[np.ndarray, " rows"],
    affinity: Float[np.ndarray, " rows"],
    chance: Float[np.ndarray, " rows"],
) -> Float[np.ndarray, "rows features"]:
    """The features of some contents for one listener, in the order of `retrieval.mixture.FEATURES`, float64.

    Args:
        export: whose contents they are.
        events: all that the listener did, in time order.
        tastes: of the listener.
        rows: of the contents, each once.
        affinity: of these, inner products with the listener's vector.
        chance: of these, the logarithm of the odds of a listen by `listen_chance`.
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
    """The last `LATELY` different contents that somebody chose, sorted."""
    newest_first = events.chosen_rows[::-1]
    rows, first = np.unique(newest_first, return_index=True)
    return rows if len(rows) <= LATELY else np.sort(rows[np.argsort(first)[:LATELY]])


def listened_with(
    neighbours: Neighbours | None, chosen: Int[np.ndarray, " chosen"], rows: Int[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """How much those who choose what a listener chose choose each of some contents: the sum of its weights among the
    neighbours of the chosen ones, over the root of their number; 0 without neighbours.

    Args:
        neighbours: by co-listening; null where the export has none.
        chosen: different contents that the listener chose.
        rows: of the contents that are asked for, each once.
    """
    if neighbours is None or not len(chosen):
        return np.zeros(len(rows))
    places, _, weights = neighbours.among(chosen, rows)
    return np.bincount(places, weights, minlength=len(rows)) / np.sqrt(len(chosen))


def nearest_chosen(
    vectors: Float[np.ndarray, "rows dim"], chosen: Float[np.ndarray, "chosen dim"]
) -> Float[np.ndarray, " rows"]:
    """The mean inner product of each content with the `NEAREST` nearest of the chosen ones; 0 where nothing is."""
    if not len(chosen):
        return np.zeros(len(vectors))
    products = vectors @ chosen.T
    if products.shape[1] > NEAREST:
        products = np.partition(products, products.shape[1] - NEAREST, axis=1)[:, -NEAREST:]
    return products.mean(axis=1, dtype=np.float64)
