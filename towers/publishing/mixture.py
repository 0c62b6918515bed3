"""The learned mixture of an export: fitted to what listeners chose first in the validation period.

Each listener is seen as an export would have known them at the start of that period, with the code that makes lists.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int
from sklearn.metrics import roc_auc_score

from towers.errors import DataLacks
from towers.evaluation.chance_fit import WINDOW_DAYS, WINDOW_EVENTS
from towers.evaluation.listening import Listening
from towers.evaluation.log_odds_fit import MIN_POSITIVES, fit_log_odds
from towers.features.ragged import Ragged
from towers.policies.listener import Listener
from towers.publishing.co_listening import chosen_lists, co_listening
from towers.publishing.judged_space import JudgedSpace
from towers.retrieval.encoders import EVENT_COLUMNS, UserEncoder
from towers.retrieval.export import Export
from towers.retrieval.export_files import FORMAT
from towers.retrieval.listen_chance import ListenChance
from towers.retrieval.mixture import FEATURES, Mixture
from towers.retrieval.query import Query, allowed
from towers.retrieval.search import listen_log_odds

AT_MOST_LISTENERS, AT_MOST_PAIRS = 2_000, 1_000_000
"""Largest numbers of listeners and of pairs for the fit; of more, so many are drawn."""
HELD_OUT_SHARE = 0.2
"""Share of the listeners who are left out of the fit, and on whom its ranking is measured."""


class JudgedExport(Export):
    """An export of the judged network as if written at the end of the training period.

    Only the listeners in `rows` have a vector.
    """

    def __init__(
        self,
        space: JudgedSpace,
        tower: Path,
        space_id: str,
        max_length: int,
        chance: ListenChance,
        rows: Int[np.ndarray, " users"],
    ):
        whole = space.judged.store
        end_us = whole.manifest["validation_start_us"] - whole.gap_us
        store = whole.until(end_us)
        histories, vectors = store.histories, space.contents
        end = datetime.fromtimestamp(end_us / 1e6, UTC).isoformat()
        self.folder = tower.parent
        self.manifest = {
            "format": FORMAT, "space_id": space_id, "dim": vectors.shape[1], "max_length": max_length,
            "has_clock": True, "window": {"end": end},
        }  # fmt: skip
        users = np.zeros((histories.num_users, vectors.shape[1]), np.float32)
        users[rows] = space.users(rows)
        events = pa.table({name: np.asarray(getattr(histories, name)) for name in EVENT_COLUMNS})
        recent = pa.array(Listening(store, "end").facts.recent_positives, pa.int64())
        # Each of these replaces what would be read from a file.
        self.__dict__.update(
            vectors=vectors,
            tower_inputs=space.inputs if space.projection.is_truncated else vectors,
            contents=store.contents.append_column("recent_positives", recent),
            user_vectors=users,
            user_codes=store.user_codes,
            listen_chance=chance,
            mixture=None,
            _events=(np.asarray(histories.offsets), events),
        )
        self.__dict__["encoder"] = UserEncoder(tower, self.tower_inputs, space_id, max_length, has_clock=True)
        self.__dict__["co_listening"] = co_listening(self, chosen_lists(self))


def write_mixture(
    path: Path, space: JudgedSpace | str, chance: ListenChance | None, tower: Path, space_id: str, max_length: int
) -> dict[str, Any]:
    """Fits the mixture and writes it.

    Args:
        path: path of the file, which is not written where there is nothing to fit on.
        space: space that the mixture is fitted in, or the reason why there is none.
        chance: model of the probability of a listen, which the mixture reads.
        tower: the judged network's user tower, as ONNX.
        space_id: id of the exported space.
        max_length: number of events that the tower reads.

    Returns:
        For the manifest: facts about the fit and how well it ranks, or the `reason` why there is none.
    """
    if isinstance(space, str):
        return {"reason": space}
    try:
        if chance is None:
            raise DataLacks("it reads the chance of a listen, which could not be fitted")
        model = _fit(space, chance, tower, space_id, max_length)
    except DataLacks as error:
        return {"reason": str(error)}
    model.write(path, space_id)
    return model.fitted


def _fit(
    space: JudgedSpace, chance: ListenChance, tower: Path, space_id: str, max_length: int, seed: int = 0
) -> Mixture:
    store = space.judged.store
    if not store.has_clock:
        raise DataLacks("the data has no clock, so it is not known what was new when")
    listening = Listening(store, "validation")
    listened = listening.chosen_within(days=WINDOW_DAYS, events=WINDOW_EVENTS)
    draws = np.random.default_rng(seed)
    with_listens = np.intersect1d(listening.user_rows, np.flatnonzero(listened.lengths))
    rows = np.sort(draws.permutation(with_listens)[:AT_MOST_LISTENERS])
    export = JudgedExport(space, tower, space_id, max_length, chance, rows)
    features, is_listen, weight, listener = _pairs(export, listened, rows, draws)
    if is_listen.sum() < MIN_POSITIVES:
        raise DataLacks(f"{int(is_listen.sum())} first listens in the validation period are too few to fit it on")
    is_held_out = (draws.permutation(len(rows)) < HELD_OUT_SHARE * len(rows))[listener]
    fitted = ~is_held_out
    odds = fit_log_odds(features[fitted], is_listen[fitted], weight[fitted])
    held = (is_listen[is_held_out], weight[is_held_out])
    facts = {
        "listeners": len(rows),
        "first_listens": int(is_listen.sum()),
        "cold_share": _cold_share(export, listened),
        "held_out_auc": {
            "mixture": _auc(odds(features[is_held_out]), *held),
            "chance": _auc(features[is_held_out][:, FEATURES.index("chance")], *held),
        },
        "fitted_with": space.judged.fingerprint,
    }
    return Mixture(odds=odds, fitted=facts)


def _pairs(
    export: Export, listened: Ragged, rows: Int[np.ndarray, " users"], draws: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns features, whether a listen followed, weight and listener of pairs of a listener and a content new to
    them: all pairs with a listen, and a share of the others, weighted by its inverse."""
    num_contents = int(allowed(export, Query(), None).sum())
    share = min(1.0, AT_MOST_PAIRS / max(len(rows) * num_contents, 1))
    parts = []
    for place, row in enumerate(rows.tolist()):
        listener = Listener.of_row(export, row)
        may_come = allowed(export, Query(include_heard=True), listener.standing)
        may_come[listener.chosen] = False
        new = np.flatnonzero(may_come)
        is_listen = np.isin(new, listened[row])
        kept = is_listen | (draws.random(len(new)) < share)
        new, is_listen = new[kept], is_listen[kept]
        affinity = listener.affinity(new)
        assert export.listen_chance is not None
        odds = listen_log_odds(export, export.listen_chance, listener.standing, new, affinity)
        features = listener.mixture_features(new, affinity, odds)
        parts.append((features, is_listen, np.where(is_listen, 1.0, 1 / share), np.full(len(new), place)))
    features, is_listen, weight, listener = (np.concatenate(part) for part in zip(*parts, strict=True))
    return features, is_listen, weight, listener


def _cold_share(export: Export, listened: Ragged) -> float:
    """Returns the share of contents without earlier choices among the first listens to released contents."""
    before = export.all_chosen.unique()
    is_cold = np.bincount(before.values, minlength=len(export.contents)) == 0
    may_come = allowed(export, Query(), None)
    size = len(export.contents)
    keys = listened.list_of_value * size + listened.values
    is_first = may_come[listened.values] & ~np.isin(keys, before.list_of_value * size + before.values)
    return float(is_cold[listened.values[is_first]].mean()) if is_first.any() else 0.0


def _auc(
    scores: Float[np.ndarray, " pairs"], came: Bool[np.ndarray, " pairs"], weight: Float[np.ndarray, " pairs"]
) -> float | None:
    """Returns the probability that a pair with a listen scores above one without; null where all pairs are of one
    sort."""
    return float(roc_auc_score(came, scores, sample_weight=weight)) if 0 < came.sum() < len(came) else None
