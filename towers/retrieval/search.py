"""Search of an export's contents for a listener, by inner product or chance of a listen, exactly or by its index."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.errors import UserError
from towers.features.familiarity import Familiarity, ages
from towers.retrieval.export import Export
from towers.retrieval.listen_chance import ListenChance, chance, pair_features
from towers.retrieval.query import Query, Standing, allowed

EXACT_BELOW = 20_000
"""Number of allowed contents below which every inner product is computed: then faster than an index, and exact."""
NEW_LOOKED_AT = 1_000
"""Number of nearest unheard contents whose chance of a listen is computed if `EXACT_BELOW` or more are allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Contents found by a search, best first.

    Args:
        rows: `[found]`, rows of the contents table.
        scores: `[found]`, inner products.
        chances: `[found]`, chances of a listen, 0 to 1, by which the contents are sorted; null if they are sorted by
            `scores`.
    """

    rows: Int[np.ndarray, " found"]
    scores: Float[np.ndarray, " found"]
    chances: Float[np.ndarray, " found"] | None = None


def recommend(export: Export, vector: Float[np.ndarray, " dim"], query: Query, standing: Standing | None) -> Found:
    """Returns the allowed contents, best first.

    New contents are ranked by inner product. If heard contents are allowed, too, the ranking is by the chance of a
    listen, provided the export has that model, because inner products of heard and of new contents are not comparable.

    Args:
        export: export to search.
        vector: vector of the listener, in the export's space.
        query: request; if it names candidates, all of them are scored.
        standing: standing of the listener, in rows of the export; null if the listener's history is unknown.

    Raises:
        UserError: `familiar` is given for a vector alone, or for an export without the model.
    """
    among = allowed(export, query, standing)
    if query.familiar is None and not query.include_heard:
        return _nearest(export, vector, query, among)
    model = export.listen_chance
    if standing is not None and model is not None:
        return _likeliest(export, vector, query, among, standing, model)
    if query.familiar is not None:
        raise UserError(f"familiar={query.familiar}: {_no_chance(export, standing)}")
    return _nearest(export, vector, query, among)


def similar(export: Export, content_row: int, query: Query) -> Found:
    """Returns the contents nearest to a content, without itself; their kinds are the query's, not the content's."""
    others = allowed(export, query, None)
    others[content_row] = False
    return _nearest(export, export.vectors[content_row], query, others)


def _nearest(
    export: Export, vector: Float[np.ndarray, " dim"], query: Query, among: Bool[np.ndarray, " contents"]
) -> Found:
    """Ranks by inner product: exactly if candidates are given or few contents are allowed, else by the index."""
    num_allowed = int(np.count_nonzero(among))
    is_exact = query.among is not None or num_allowed < EXACT_BELOW
    index = export.exact_index if is_exact else export.index
    # The index returns `k` columns: more than the allowed contents would only be padding.
    filtered = among if num_allowed < len(among) else None
    rows, scores = index.search(vector[None], max(min(query.k, num_allowed), 1), filtered)
    is_found = rows[0] >= 0
    return Found(rows=rows[0][is_found], scores=scores[0][is_found])


def _likeliest(
    export: Export,
    vector: Float[np.ndarray, " dim"],
    query: Query,
    among: Bool[np.ndarray, " contents"],
    standing: Standing,
    model: ListenChance,
) -> Found:
    """Ranks by the chance of a listen, over all heard contents and over all or the nearest of the new ones."""
    is_heard = np.zeros(len(among), bool)
    is_heard[standing.heard] = True
    if query.among is not None or np.count_nonzero(among) < EXACT_BELOW:
        rows = np.flatnonzero(among)
    else:
        num_new = max(NEW_LOOKED_AT, 2 * query.k)
        nearest, _ = export.index.search(vector[None], num_new, among & ~is_heard)
        rows = np.concatenate([np.flatnonzero(among & is_heard), nearest[0][nearest[0] >= 0]])
    affinity = export.vectors[rows] @ vector
    log_odds = listen_log_odds(export, model, standing, rows, affinity)
    best = np.argsort(-log_odds, kind="stable")
    chosen = _with_share(best, is_heard[rows][best], query)
    return Found(rows=rows[chosen], scores=affinity[chosen], chances=chance(log_odds[chosen]))


def listen_log_odds(
    export: Export,
    model: ListenChance,
    standing: Standing,
    rows: Int[np.ndarray, " rows"],
    affinity: Float[np.ndarray, " rows"],
) -> Float[np.ndarray, " rows"]:
    """Returns the log-odds that a listener listens to each of the contents `rows`.

    Args:
        export: export that holds the contents.
        model: model of the chance of a listen.
        standing: standing of the listener.
        rows: content rows.
        affinity: inner products of these contents with the listener's vector.
    """
    events = standing.events
    age = ages(events.timestamp_us, _now_us(standing) if "days" in model.window else None)
    met = Familiarity.of(content_row=events.content_row, action=events.action, age=age, is_positive=events.is_positive)
    features, is_chosen = pair_features(met, events.chosen_rows, export.facts, rows, affinity)
    return model.log_odds(features, is_chosen)


def _now_us(standing: Standing) -> int:
    """Returns the time of the query; that of the last event if the history was given without times."""
    if standing.until_us is not None:
        return standing.until_us
    return int(standing.events.timestamp_us.max(initial=0))


def _with_share(
    best: Int[np.ndarray, " candidates"], is_heard: Bool[np.ndarray, " candidates"], query: Query
) -> Int[np.ndarray, " found"]:
    """Returns the first `k` of the ranked candidates, with as many heard ones as `familiar` requests."""
    if query.familiar is None:
        return best[: query.k]
    heard, new = int(is_heard.sum()), int((~is_heard).sum())
    num_heard = min(heard, query.num_familiar)
    num_new = min(new, query.k - num_heard) if query.familiar < 1 else 0
    num_heard = min(heard, query.k - num_new) if query.familiar > 0 else 0
    kept = np.where(is_heard, np.cumsum(is_heard) <= num_heard, np.cumsum(~is_heard) <= num_new)
    return best[kept]


def _no_chance(export: Export, standing: Standing | None) -> str:
    if standing is None:
        return "a vector has no listening history; give user or history"
    reason = export.manifest.get("listen_chance", {}).get("reason", "its format is older than 3; export again")
    return f"version {export.version} has no model of the chance of a listen: {reason}"
