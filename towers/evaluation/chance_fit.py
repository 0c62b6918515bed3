"""Fits the chance of a listen on the listening of the validation period, which training has not seen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.contract.durations import DAY_US
from towers.data.store import Store
from towers.errors import DataLacks
from towers.evaluation.listening import Listening
from towers.evaluation.log_odds_fit import fit_log_odds
from towers.evaluation.reliability import reliability
from towers.features.ragged import Ragged
from towers.retrieval.listen_chance import FEATURES, ListenChance, LogOdds, chance

WINDOW_DAYS, WINDOW_EVENTS = 14.0, 20
"""Length of the window in which a listen counts, with and without timestamps; less if the validation period is shorter.
"""
AT_MOST_LISTENERS, AT_MOST_PAIRS = 5_000, 2_000_000
"""Largest number of listeners and of pairs for the fit; if there are more, a sample is drawn."""
HELD_OUT_SHARE = 0.2
"""Share of held-out listeners, on whom the reliability of the chances is measured."""
LEFT_TO_THE_CURVE = ("affinity_squared",)
"""Features that the model of new contents does not use. The square would improve calibration, but lowered recall on
discovery (docs/log.md); the curve calibrates, too, and keeps the order."""
Vectors = Callable[[Int[np.ndarray, " users"]], Float[np.ndarray, "users dim"]]
"""Function from listeners' store rows to their vectors as of the start of the validation period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    """Pairs of listeners and contents, with features from before the window and the outcome within it.

    Args:
        features: `[pairs, 10]`, features of each pair.
        is_chosen: whether the listener chose the content before the window.
        is_listen: whether the listener chose it within the window.
        weight: number of pairs that each represents.
        listener: `[pairs]`, index of the listener.
    """

    features: Float[np.ndarray, "pairs features"]
    is_chosen: Bool[np.ndarray, " pairs"]
    is_listen: Bool[np.ndarray, " pairs"]
    weight: Float[np.ndarray, " pairs"]
    listener: Int[np.ndarray, " pairs"]

    def where(self, keep: Bool[np.ndarray, " pairs"]) -> "_Pairs":
        """Returns the pairs that `keep` marks."""
        return _Pairs(**{name: getattr(self, name)[keep] for name in self.__dataclass_fields__})


def fit_chance(
    store: Store,
    contents: Float[np.ndarray, "contents dim"],
    vectors: Vectors,
    *,
    among: Int[np.ndarray, " users"] | None = None,
    seed: int = 0,
) -> ListenChance:
    """Fits the model on pairs of listeners and contents that could be recommended when the validation period begins.

    The fit uses all pairs with a content that the listener chose before or in the window, and a random sample of the
    others, weighted by its inverse share, so that chances hold for all pairs. A fifth of the listeners is held out to
    measure calibration.

    Args:
        store: prepared store.
        contents: content vectors by row, of a network that was not trained on the validation period.
        vectors: function that returns listeners' vectors, of the same space.
        among: store rows of the listeners to fit on; null: all.
        seed: seed of the draws.

    Raises:
        DataLacks: no listener chooses anything in the validation period, or none has an event before it.
    """
    listening = Listening(store, "validation")
    listened = listening.chosen_within(days=WINDOW_DAYS, events=WINDOW_EVENTS)
    if not len(listened.values):
        raise DataLacks("no listener chooses anything in the validation period, so no chance of a listen can be fitted")
    draws = np.random.default_rng(seed)
    known = listening.user_rows if among is None else np.intersect1d(listening.user_rows, among)
    rows = np.sort(draws.permutation(known)[:AT_MOST_LISTENERS])
    if not len(rows):
        raise DataLacks("no listener has events before the validation period, so no chance of a listen can be fitted")
    pairs = _pairs(listening, listened, rows, vectors(rows), contents, draws)
    is_held_out = (draws.permutation(len(rows)) < HELD_OUT_SHARE * len(rows))[pairs.listener]
    fitted, judged = pairs.where(~is_held_out), pairs.where(is_held_out)
    heard = _log_odds(fitted.where(fitted.is_chosen))
    new = _log_odds(fitted.where(~fitted.is_chosen), np.isin(FEATURES, LEFT_TO_THE_CURVE))
    window = _window(store)
    model = ListenChance(heard=heard, new=new, window=window, fitted={})
    chances = chance(model.log_odds(judged.features, judged.is_chosen))
    parts = {"all": np.full(len(chances), True), "heard": judged.is_chosen, "new": ~judged.is_chosen}
    is_return = pairs.is_chosen[pairs.is_listen]
    facts: dict[str, Any] = {
        "listeners": len(rows),
        "held_out_listeners": len(np.unique(judged.listener)),
        "listens": {"heard": int(is_return.sum()), "new": int((~is_return).sum())},
        "reliability": {
            name: reliability(chances[part], judged.is_listen[part], judged.weight[part])
            for name, part in parts.items()
        },
    }
    return ListenChance(heard=heard, new=new, window=window, fitted=facts)


def _window(store: Store) -> dict[str, float]:
    """Returns the window within the validation period: in days, or in events if each listener has their own cut."""
    if store.manifest.get("validation_start_us") is None:
        begins, ends = map(np.asarray, store.histories.period("validation"))
        lengths = ends - begins
        return {"events": float(min(WINDOW_EVENTS, lengths.max(initial=0)))}
    days = (store.manifest["test_start_us"] - store.gap_us - store.manifest["validation_start_us"]) / DAY_US
    return {"days": float(min(WINDOW_DAYS, days))}


def _pairs(
    listening: Listening,
    listened: Ragged,
    rows: Int[np.ndarray, " users"],
    users: Float[np.ndarray, "users dim"],
    contents: Float[np.ndarray, "contents dim"],
    draws: np.random.Generator,
) -> _Pairs:
    candidates = listening.candidates
    share = min(1.0, AT_MOST_PAIRS / max(len(rows) * len(candidates), 1))
    is_candidate = np.zeros(len(contents), bool)
    is_candidate[candidates] = True
    parts = []
    for listener, row in enumerate(rows.tolist()):
        may_come = is_candidate.copy()
        may_come[listening.withheld(row)] = False
        drawn = candidates if share == 1 else candidates[draws.random(len(candidates)) < share]
        before = listening.chosen(row)
        listens = listened[row][may_come[listened[row]]]
        certain = np.union1d(listens, before[may_come[before]])
        asked = np.union1d(certain, drawn[may_come[drawn]])
        features, is_chosen = listening.features(row, asked, contents[asked] @ users[listener])
        weight = np.where(np.isin(asked, certain), 1.0, 1 / share)
        parts.append(
            _Pairs(
                features=features,
                is_chosen=is_chosen,
                is_listen=np.isin(asked, listens),
                weight=weight,
                listener=np.full(len(asked), listener),
            )
        )
    return _Pairs(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _Pairs.__dataclass_fields__}
    )


def _log_odds(pairs: _Pairs, is_left_out: Bool[np.ndarray, " features"] | None = None) -> LogOdds:
    return fit_log_odds(pairs.features, pairs.is_listen, pairs.weight, is_left_out)
