"""A pool for an editor to begin with: what is near a few pieces, ranked, with what is new in it marked.

A content is as good as it is close to the seeds: the soft maximum of its inner products with them, so that seeds of
several kinds bring contents of each and none that lie between, joined with how much the same listeners choose it.
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
"""Times `k` nearest contents that are looked at, so that caps of artists leave enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalSettings:
    """How a pool is proposed.

    Args:
        k: contents of the pool, the seeds among them.
        max_per_artist: at most so many of an artist beside the seeds; null: any number.
        new_days: what came out within so many days before the export's last event is new, and so is what nobody has
            played.
        sharpness: of the soft maximum: near 0 a content should be close to all seeds, at 20 close to one of them.
        co_listening: what it counts that the same listeners choose a content and the seeds, where closeness counts 1;
            both in standard deviations over the catalogue.

    Raises:
        UserError: a number below what it may be.
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
    """A pool around a few contents: these first, then what is near them, the best first.

    Remasters and duplicates of what is in it are left out, and so is what is not out on the export's last day. The
    fact `new` counts what is new.

    Args:
        export: from whose contents it is made.
        seeds: rows of contents that can be played; repeats count once.
        settings: null: the defaults.

    Raises:
        UserError: no seeds, as many as the pool has places, or one that cannot be played.
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
    # The seeds stand before all else whatever they score.
    of_seeds = np.full(len(seeds), scores.max(initial=0.0))
    return Playlist(
        rows=np.concatenate([seeds, rows]),
        scores=np.concatenate([of_seeds, candidates.utility[picked.places]]),
        reasons=(*[Reason(kind="editor")] * len(seeds), *reasons),
        remark=picked.remark,
        facts={"new": int(is_new.sum())},
    )


def write_proposal(export: Export, proposal: Playlist, path: Path, title: str = "", k: int = 30) -> Pool:
    """Writes a proposed pool as the file that an editor changes, with the reason of each content beside it.

    Args:
        export: of the proposal.
        proposal: as `propose_pool` gives it.
        path: of the YAML file.
        title: of the pool.
        k: contents of each listener's list.

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
    """The best contents, how good each is, and which seed each is nearest to."""
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
    """New by its first artist who has a row."""
    artist_ids: Sequence[str] = export.contents["artist_ids"][row].as_py() or ()
    artists = export.content_ids.rows(list(artist_ids))
    known = [artist for artist in artists.tolist() if artist >= 0 and schema.KINDS[export.kinds[artist]] == "artist"]
    return Reason(kind="new_by", because=known[0]) if known else Reason(kind="new")
