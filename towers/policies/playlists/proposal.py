"""A first pool for an editor: contents near a few pieces, ranked, with new ones marked.

A content's score is its closeness to the seeds: the soft maximum of its inner products with them, so that different
seeds bring contents of their own kinds and none that lie between, plus how much the same listeners choose it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.contract import schema
from towers.errors import UserError, require_counts
from towers.policies.playlist import Playlist, Reason
from towers.policies.playlists.pool import Pool
from towers.policies.playlists.pool_file import pool_of, write_pool
from towers.policies.reasons import in_words
from towers.policies.rules import Candidates, Rules
from towers.policies.slate import pick
from towers.retrieval.export import Export

LOOKED_AT = 20
"""Number of nearest contents that are considered, as a multiple of `k`, so that caps of artists leave enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalSettings:
    """Settings of a proposed pool.

    Args:
        k: number of contents of the pool, including the seeds.
        max_per_artist: largest number of contents of one artist beside the seeds; null: no limit.
        new_days: contents released within this number of days before the export's last event are new, and so are those
            that no listener has played.
        sharpness: sharpness of the soft maximum: near 0 a content should be close to all seeds, at 20 close to one of
            them.
        co_listening: weight of being chosen by the same listeners as the seeds, where closeness has weight 1; both in
            standard deviations over the catalogue.

    Raises:
        UserError: a number is out of range.
    """

    k: int = 60
    max_per_artist: int | None = 4
    new_days: int = 60
    sharpness: int | float = 8.0
    co_listening: int | float = 0.2

    def __post_init__(self) -> None:
        try:
            require_counts(k=self.k, max_per_artist=1 if self.max_per_artist is None else self.max_per_artist)
        except ValueError as error:
            raise UserError(str(error)) from error
        for name in ("new_days", "co_listening"):
            if getattr(self, name) < 0:
                raise UserError(f"{name}={getattr(self, name)}: must be 0 or more")
        if self.sharpness <= 0:
            raise UserError(f"sharpness={self.sharpness:g}: must be above 0")


def propose_pool(
    export: Export, seeds: Integer[np.ndarray, " seeds"], settings: ProposalSettings | None = None
) -> Playlist:
    """Proposes a pool around a few contents: these first, then what is near them, best first.

    Remasters and duplicates of its contents are left out, and so are contents not released on the export's last day.
    The fact `new` is the number of new contents.

    Args:
        export: export of the contents.
        seeds: rows of playable contents; repeats count once.
        settings: settings; null: the defaults.

    Raises:
        UserError: there are no seeds, as many as the pool has places, or one that cannot be played.
    """
    settings = settings or ProposalSettings()
    seeds = seeds[np.sort(np.unique(seeds, return_index=True)[1])].astype(np.int64)
    _check_seeds(export, seeds, settings)
    may_come = export.catalogue.passing(schema.PLAYABLE_KINDS, True, export.last_day).copy()
    may_come[_same_recording(export, seeds)] = False
    found, scores, nearest = _near(export, seeds, may_come, settings)
    candidates = Candidates.of(found, scores, export.facts.artists, export.recordings)
    picked = pick(candidates, Rules(k=settings.k - len(seeds), max_per_artist=settings.max_per_artist))
    rows = candidates.rows[picked.places]
    is_new = _is_new(export, rows, settings.new_days)
    seed_of = dict(zip(found.tolist(), seeds[nearest].tolist(), strict=True))
    reasons = [
        _newness(export, row) if new else Reason(kind="near", because=seed_of[row])
        for row, new in zip(rows.tolist(), is_new.tolist(), strict=True)
    ]
    # The seeds are first, with the largest score of the others.
    of_seeds = np.full(len(seeds), scores.max(initial=0.0))
    return Playlist(
        rows=np.concatenate([seeds, rows]),
        scores=np.concatenate([of_seeds, candidates.utility[picked.places]]),
        reasons=(*[Reason(kind="editor")] * len(seeds), *reasons),
        remark=picked.remark,
        facts={"new": int(is_new.sum())},
    )


def write_proposal(export: Export, proposal: Playlist, path: Path, title: str = "", k: int = 30) -> Pool:
    """Writes a proposed pool as a file for an editor to change, with the reason of each content beside it.

    Args:
        export: export of the proposal.
        proposal: result of `propose_pool`.
        path: path of the YAML file.
        title: title of the pool.
        k: number of contents in each listener's list.

    Returns:
        The pool, as `pool_file.read_pool` reads it from the file.
    """
    content_ids = [export.content_ids[row] for row in proposal.rows.tolist()]
    pool = pool_of(export, {"title": title, "contents": content_ids, "k": k}, str(path))
    notes = [in_words(export, reason) for reason in proposal.reasons]
    write_pool(pool, path, dict(zip(content_ids, notes, strict=True)))
    return pool


def _check_seeds(export: Export, seeds: Int[np.ndarray, " seeds"], settings: ProposalSettings) -> None:
    if not len(seeds):
        raise UserError("seeds: give at least one content")
    if len(seeds) >= settings.k:
        raise UserError(f"seeds: {len(seeds)} of them leave no place in a pool of k={settings.k}")
    for row in seeds[~export.catalogue.of_kinds(schema.PLAYABLE_KINDS)[seeds]].tolist():
        raise UserError(f"seeds: {export.content_ids[row]!r} cannot be played, {export.unplayable(row)}")


def _near(
    export: Export,
    seeds: Int[np.ndarray, " seeds"],
    may_come: Bool[np.ndarray, " contents"],
    settings: ProposalSettings,
) -> tuple[Int[np.ndarray, " found"], Float[np.ndarray, " found"], Int[np.ndarray, " found"]]:
    """Returns the best contents, the score of each, and the seed that each is nearest to."""
    cosines = np.asarray(export.vectors @ export.vectors[seeds].T, np.float64)
    close = np.log(np.exp(settings.sharpness * cosines).mean(axis=1))
    score = _standardised(close, may_come)
    if export.co_listening is not None and settings.co_listening > 0:
        together, near = np.zeros(len(close)), export.co_listening
        known = near.rows[seeds] >= 0
        np.add.at(together, near.rows[seeds][known], near.weights[seeds][known])
        score += settings.co_listening * _standardised(together, may_come)
    among = np.flatnonzero(may_come)
    best = among[np.argsort(-score[among], kind="stable")[: LOOKED_AT * settings.k]]
    return best, score[best], cosines[best].argmax(axis=1)


def _standardised(
    values: Float[np.ndarray, " contents"], among: Bool[np.ndarray, " contents"]
) -> Float[np.ndarray, " contents"]:
    if not among.any():
        return values
    spread = float(values[among].std())
    return (values - values[among].mean()) / (spread if spread > 0 else 1.0)


def _same_recording(export: Export, seeds: Int[np.ndarray, " seeds"]) -> Int[np.ndarray, " contents_of_seeds"]:
    if export.recordings is None:
        return seeds
    return np.flatnonzero(np.isin(export.recordings, export.recordings[seeds]))


def _is_new(export: Export, rows: Int[np.ndarray, " rows"], days: int) -> Bool[np.ndarray, " rows"]:
    is_unplayed = export.is_cold[rows] & (export.facts.recent_positives[rows] == 0)
    if export.last_day is None:
        return is_unplayed
    since = np.datetime64(export.last_day, "D") - np.timedelta64(days, "D")
    return is_unplayed | (export.catalogue.released[rows] >= since)  # no comparison with an unknown day holds


def _newness(export: Export, row: int) -> Reason:
    """Returns the reason "new by" the first artist who has a row, or else "new"."""
    artist_ids: Sequence[str] = export.contents["artist_ids"][row].as_py() or ()
    artists = export.content_ids.rows(list(artist_ids))
    known = [artist for artist in artists.tolist() if artist >= 0 and schema.KINDS[export.kinds[artist]] == "artist"]
    return Reason(kind="new_by", because=known[0]) if known else Reason(kind="new")
