"""Alignment of a new version's vectors with the space of an earlier one, so that the versions can be mixed.

While a new version is rolled out, listeners' vectors of the earlier one meet contents of the new one. The space stays
the same only where that was measured to do little harm: see `align`.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.data.store import Store
from towers.evaluation.checks.future import trained_before
from towers.evaluation.exports import ExportOnStore
from towers.evaluation.result import Evaluation
from towers.publishing.drift import drift_between
from towers.publishing.held_out import RECALL, HeldOutListening
from towers.publishing.procrustes import fit_rotation
from towers.retrieval.export import Export
from towers.retrieval.files import HISTORIES, HISTORY_EVENTS, mapped_table
from towers.retrieval.rotation import SpaceRotation, SpaceVersion

MIN_RECALL_SHARE = 0.9
NEW_NEW, OLD_OLD, UNMAPPED, MAPPED = (
    "new listeners, new contents",
    "old listeners, old contents",
    "old listeners, new contents, unmapped",
    "old listeners, new contents, mapped",
)
RESAMPLES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Result of an alignment.

    Args:
        rotation: map from the new vectors' own space to the earlier one; null where there is none.
        keeps_space: whether the mapped new vectors may have the earlier `space_id`.
        report: measurements and the reason for the decision; for `drift.json`.
    """

    rotation: SpaceRotation | None
    keeps_space: bool
    report: dict[str, Any]

    @property
    def matrix(self) -> Float[np.ndarray, "dim dim"] | None:
        """Matrix that the new vectors are multiplied by; null where they are exported in a space of their own."""
        return self.rotation.matrix if self.rotation is not None and self.keeps_space else None


def align(
    earlier: Export,
    held_out: HeldOutListening,
    contents: Float[np.ndarray, "contents dim"],
    users: Float[np.ndarray, "listeners dim"],
    source: SpaceVersion,
    *,
    min_recall_share: float = MIN_RECALL_SHARE,
    has_seen_test: bool = False,
) -> Alignment:
    """Fits the map on contents that were chosen in both trainings, and decides whether the space may stay the same.

    It may if old listeners find, among the mapped new contents, at least `min_recall_share` of what new listeners find
    there: recall@20 of the test period, for listeners that the earlier version has. Old listeners' vectors are computed
        by
    its own user tower from their histories up to that period. Where this cannot be measured, the space changes, and the
    report has the reason.

    Two versions that were both trained up to their last events, like those of `towers retrain`, have no events that
    both have not seen. They are compared on events that both were trained on, where every figure is too high; the share
    then says how much of what was memorised survives the mixing, and is too low rather than too high.

    Args:
        earlier: version whose space is to be kept; of any format.
        held_out: listening of the store that the new version was trained on.
        contents: new vectors by row of that store, unit, with as many dimensions as are exported; may be memory-mapped.
        users: new vectors of `held_out.user_rows` as of the test period, in the same space.
        source: the new version, and the space of its vectors before mapping.
        min_recall_share: 0 to 1.
        has_seen_test: whether the new version was trained on the test period, too.
    """
    shared = _Shared.of(earlier, held_out.store)
    target = SpaceVersion(version=earlier.manifest.get("version", earlier.folder.name), space_id=earlier.space_id)
    report: dict[str, Any] = {
        "earlier": asdict(target),
        "new": asdict(source),
        "shared_contents": len(shared.new_rows),
        "trained_in_both": int(shared.is_trained.sum()),
        "min_recall_share": min_recall_share,
    }
    reason = _no_map(earlier, contents.shape[1], shared)
    if reason is not None:
        return Alignment(rotation=None, keeps_space=False, report=report | _decision(False, reason))
    trained = shared.trained
    fitted = fit_rotation(source, target, contents, earlier.vectors, trained.new_rows, trained.earlier_rows)
    drift = drift_between(earlier.vectors, contents, shared.earlier_rows, shared.new_rows, fitted)
    report |= {"residual": fitted.residual, "drift": asdict(drift)}
    known = _known_listeners(earlier, held_out)
    reason = _no_judgement(earlier, held_out, known, has_seen_test)
    if reason is not None:
        return Alignment(rotation=fitted, keeps_space=False, report=report | _decision(False, reason))
    evaluations = _mixed(earlier, held_out, known, contents, users[known], fitted)
    measured = _recall(evaluations)
    share = measured["recall_share"]
    keeps = share >= min_recall_share
    reason = (
        f"old listeners find among new contents {share:.1%} of what new listeners find"
        f"{', of listening that both were trained on' if has_seen_test else ''}"
        f"{'' if keeps else f', less than {min_recall_share:.1%}'}"
    )
    return Alignment(rotation=fitted, keeps_space=keeps, report=report | measured | _decision(keeps, reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """Contents that both versions have, by row in each."""

    new_rows: Int[np.ndarray, " shared"]
    earlier_rows: Int[np.ndarray, " shared"]
    is_trained: Bool[np.ndarray, " shared"]

    @classmethod
    def of(cls, earlier: Export, store: Store) -> "_Shared":
        rows = earlier.content_ids.rows(store.contents["content_id"])
        new_rows = np.flatnonzero(rows >= 0)
        # Events that validation has added to training, if any, change little here.
        is_trained = (store.train_positives > 0)[new_rows] & _is_trained_in(earlier)[rows[new_rows]]
        return cls(new_rows=new_rows, earlier_rows=rows[new_rows], is_trained=is_trained)

    @property
    def trained(self) -> "_Shared":
        """The contents chosen in both trainings; the places of others come from metadata, not from listeners."""
        kept = self.is_trained
        return _Shared(new_rows=self.new_rows[kept], earlier_rows=self.earlier_rows[kept], is_trained=kept[kept])


def _no_map(earlier: Export, dim: int, shared: _Shared) -> str | None:
    """Returns why there is no map; null where one can be fitted."""
    if earlier.manifest["dim"] != dim:
        return f"the earlier version has {earlier.manifest['dim']} dimensions, the new one {dim}"
    if shared.is_trained.sum() < dim:
        return (
            f"{int(shared.is_trained.sum())} contents were chosen in both trainings, too few to fit a rotation of "
            f"{dim} dimensions"
        )
    return None


def _no_judgement(
    earlier: Export, held_out: HeldOutListening, known: Int[np.ndarray, " known"], has_seen_test: bool
) -> str | None:
    """Returns why the cost of a common space cannot be measured; null where it can."""
    if not len(held_out.user_rows):
        return "no listener chooses anything in the test period"
    if len(known) < held_out.min_users:
        return (
            f"the earlier version holds {len(known)} of the {len(held_out.user_rows)} listeners of the test period; "
            f"at least {held_out.min_users} are needed"
        )
    before = trained_before(held_out.store, "test", earlier.provenance)
    if before.passed is not True and not has_seen_test:
        return f"the earlier version must have been trained before the test period: {before.detail}"
    return None


def _known_listeners(earlier: Export, held_out: HeldOutListening) -> Int[np.ndarray, " known"]:
    """Returns the positions in `held_out.user_rows` of listeners that the earlier version has."""
    ids = held_out.store.user_ids[held_out.user_rows].tolist()
    return np.flatnonzero(earlier.user_ids.rows(ids) >= 0)


def _mixed(
    earlier: Export,
    held_out: HeldOutListening,
    known: Int[np.ndarray, " known"],
    contents: Float[np.ndarray, "contents dim"],
    users: Float[np.ndarray, "known dim"],
    rotation: SpaceRotation,
) -> dict[str, Evaluation]:
    """Evaluates listeners of each version on contents of each, in the combinations that serving may mix.

    Old listeners' vectors are mapped to the new contents, instead of the contents: the products are the same, without a
    second copy of all contents.
    """
    old = ExportOnStore(earlier, held_out.store)
    old_contents = old.content_vectors()
    old_users = old.user_vectors(held_out.user_rows[known], old_contents, "test")
    pairs = {
        NEW_NEW: (users, contents),
        OLD_OLD: (old_users, old_contents),
        UNMAPPED: (old_users, contents),
        MAPPED: (rotation.inverse().apply(old_users), contents),
    }
    return {name: held_out.evaluate(name, *pair, known) for name, pair in pairs.items()}


def _recall(evaluations: dict[str, Evaluation]) -> dict[str, Any]:
    """Returns the recall of all pairs, and the share of new listeners' recall that old listeners reach, with its
    interval."""
    keys = (RECALL, f"{RECALL}/discovery")
    means = {name: evaluation.means() for name, evaluation in evaluations.items()}
    found: dict[str, Any] = {
        key: {name: figures[key] for name, figures in means.items() if key in figures} for key in keys
    }
    of_new, of_old = (evaluations[name].figures(RECALL) for name in (NEW_NEW, MAPPED))
    low, high = share_interval(of_old, of_new)
    share = _share(means[MAPPED][RECALL], means[NEW_NEW][RECALL])
    return found | {"listeners": len(of_new), "recall_share": share, "recall_share_95%": [low, high]}


def share_interval(
    part: Float[np.ndarray, " listeners"], whole: Float[np.ndarray, " listeners"], seed: int = 0
) -> tuple[float, float]:
    """Returns the 95 % interval of `part`'s mean divided by `whole`'s: percentiles over bootstrap samples of listeners
    (Efron 1979), the same listeners for both."""
    draws = np.random.default_rng(seed)
    shares = []
    for _ in range(RESAMPLES):
        drawn = draws.integers(len(whole), size=len(whole))
        shares.append(_share(part[drawn].mean(), whole[drawn].mean()))
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)


def _share(part: float, whole: float) -> float:
    """Returns the ratio of two figures; 0 where the whole is 0."""
    return float(part / whole) if whole > 0 else 0.0


def _decision(keeps: bool, reason: str) -> dict[str, Any]:
    return {"keeps_space": keeps, "reason": reason}


def _is_trained_in(export: Export) -> Bool[np.ndarray, " contents"]:
    """Returns whether any listener chose a content in the export's training, by row."""
    if "train_positives" in export.contents.column_names:
        return export.contents["train_positives"].to_numpy() > 0
    # Format 1 has no such column, but has the events.
    events = mapped_table(export.folder / HISTORIES / HISTORY_EVENTS)
    is_chosen = events["is_positive"].to_numpy(zero_copy_only=False)
    trained_until_us = export.provenance.trained_until_us
    if export.manifest.get("has_clock") and trained_until_us is not None:
        is_chosen = is_chosen & (events["timestamp_us"].to_numpy() < trained_until_us)
    is_trained = np.zeros(len(export.contents), bool)
    is_trained[events["content_row"].to_numpy()[is_chosen]] = True
    return is_trained
