"""Contents of an export for who asks: by affinity, or by the chance of a listen; exactly, or through its index."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.errors import UserError
from towers.features.familiarity import Familiarity, ages
from towers.retrieval.export import Export
from towers.retrieval.listen_chance import ListenChance, chance, pair_features
from towers.retrieval.query import Query, Standing, allowed

EXACT_BELOW = 20_000
"""Where fewer contents are allowed, every inner product is computed: quicker than an index, and none is missed."""
NEW_LOOKED_AT = 1_000
"""Of more contents that the listener has not heard, so many nearest ones are looked at for the chance of a listen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Contents, best first.

    Args:
        rows: `[found]`, of the contents table.
        scores: `[found]`, affinity: inner products.
        chances: `[found]`, the chance of a listen, 0 to 1, by which they are in order; null where they are by affinity.
    """

    rows: Int[np.ndarray, " found"]
    scores: Float[np.ndarray, " found"]
    chances: Float[np.ndarray, " found"] | None = None


def recommend(export: Export, vector: Float[np.ndarray, " dim"], query: Query, standing: Standing | None) -> Found:
    """The contents that may come, best first.

    What is new comes by affinity. Where what was heard may come, too, or `familiar` says how much of it, contents come
    by the chance of a listen, as far as the export has a model of it: inner products put what somebody knows and what
    is new to them on no common scale.

    Args:
        export: whose contents are asked for.
        vector: of who asks, in the export's space.
        query: what is asked for; where it names candidates, all of them are looked at.
        standing: of who asks, in rows of the export; null where nothing is known of them.

    Raises:
        UserError: `familiar` where it has no meaning: of a vector alone, or an export without the model.
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
    """The contents nearest to one of them, which is not among them; the query's kinds count, not its own."""
    others = allowed(export, query, None)
    others[content_row] = False
    return _nearest(export, export.vectors[content_row], query, others)


def _nearest(
    export: Export, vector: Float[np.ndarray, " dim"], query: Query, among: Bool[np.ndarray, " contents"]
) -> Found:
    """Exact where candidates are given or few may come: an inverted file would look for them in a few cells only."""
    num_allowed = int(np.count_nonzero(among))
    is_exact = query.among is not None or num_allowed < EXACT_BELOW
    index = export.exact_index if is_exact else export.index
    # An answer is as wide as `k`: more than there are would be padding alone, and memory by what was asked for.
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
    """By the chance of a listen: all that was heard is looked at, and of what is new all or the nearest."""
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
    """The logarithm of the odds that somebody listens to each of some contents.

    Args:
        export: whose contents they are.
        model: of the chance of a listen.
        standing: of who would listen.
        rows: of the contents.
        affinity: of these, inner products with the vector of who would listen.
    """
    events = standing.events
    age = ages(events.timestamp_us, _now_us(standing) if "days" in model.window else None)
    met = Familiarity.of(content_row=events.content_row, action=events.action, age=age, is_positive=events.is_positive)
    features, is_chosen = pair_features(met, events.chosen_rows, export.facts, rows, affinity)
    return model.log_odds(features, is_chosen)


def _now_us(standing: Standing) -> int:
    """When it is asked; after the last event, where a history came without times."""
    if standing.until_us is not None:
        return standing.until_us
    return int(standing.events.timestamp_us.max(initial=0))


def _with_share(
    best: Int[np.ndarray, " candidates"], is_heard: Bool[np.ndarray, " candidates"], query: Query
) -> Int[np.ndarray, " found"]:
    """The first `k` of candidates in order, of which `familiar` says how many were heard."""
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
        return "who asks with a vector has heard nothing; give user or history"
    reason = export.manifest.get("listen_chance", {}).get("reason", "it is of a format before 3; export again")
    return f"version {export.version} has no model of the chance of a listen: {reason}"
