"""Judges what an export holds beside vectors and tables, by its settings.

    python benchmarks/export/derived.py exports/current --later exports/OTHER

Neighbours by co-listening are made of the events before the validation period and judged in it: recall@20 of what each
listener then chooses for the first time, by the sum of the weights of what they chose before. Those of artists are made
of one half of the listeners, and judged by ndcg@10 against the cosines that the other half gives, up to the test
period. Both by damping, with all listeners and with a few. Pairs of equal title and artist are counted by the cosine of
their vectors by sound. A fifth of the genres that are given is hidden, and the style imputed most is compared with them
(seeds 0, 1 and 2). Regions are held against the styles of labels.parquet, which no training reads, and carried on to
the same export turned and moved, and to those of `--later`.
"""

import os
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from towers.contract import schema
from towers.features.ragged import Ragged
from towers.publishing import recordings as by_sound
from towers.publishing import styles as voting
from towers.publishing.co_listening import chosen_lists, co_listening, plays_by_artist
from towers.publishing.regions import regions
from towers.retrieval import files
from towers.retrieval.export import Export
from towers.retrieval.files import mapped_array, mapped_table
from towers.retrieval.regions import Regions

DATA = Path(os.environ.get("TOWERS_SHARED_DATA", "../shared/data"))
EVERY = (1, 10, 30)
DAMPINGS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0)
VOTES = ((20, 1), (20, 8), (20, 16), (20, 32), (5, 1), (10, 8))
SEEDS = (0, 1, 2)
NOISES = (0.1, 0.3, 0.5)
K, ARTISTS = 20, 10


class Past:
    """Histories cut in periods."""

    def __init__(self, export: Export):
        folder = export.folder / files.HISTORIES
        events = mapped_table(folder / files.HISTORY_EVENTS)
        rows, times = events["content_row"].to_numpy(), events["timestamp_us"].to_numpy()
        lists = Ragged(mapped_array(folder / files.HISTORY_OFFSETS), rows)
        chosen = events["is_positive"].to_numpy() & (rows >= 0)
        first, second = (export.manifest[f"{name}_start_us"] for name in ("validation", "test"))
        self.before = lists.where(chosen & (times < first))
        self.validation = lists.where(chosen & (times >= first) & (times < second))
        self.up_to_test = lists.where(chosen & (times < second))


def discoveries_found(export: Export, past: Past, every: int, damping: float) -> float:
    """Recall@20 of first positives in the validation period, by neighbours of every so-manieth listener."""
    size = len(export.contents)
    near = co_listening(export, past.before.take(np.arange(0, len(past.before), every)), damping=damping)
    playable, found = export.catalogue.of_kinds(schema.PLAYABLE_KINDS), []
    for listener in range(len(past.before)):
        heard = np.unique(past.before[listener])
        targets = np.setdiff1d(past.validation[listener], heard)
        targets = targets[playable[targets]]
        if not len(targets) or not len(heard):
            continue
        scores = np.bincount(near.rows[heard].ravel() + 1, near.weights[heard].ravel(), minlength=size + 1)[1:]
        scores[heard] = -1
        best = np.argsort(-scores, kind="stable")[:K]
        found.append(np.isin(best, targets).sum() / min(K, len(targets)))
    return float(np.mean(found)) if found else 0.0


def artists_found(export: Export, past: Past, every: int, damping: float) -> float:
    """ndcg@10 of artists' neighbours by one half of the listeners, of whom every so-manieth counts."""
    listeners, artists = np.arange(len(past.up_to_test)), np.flatnonzero(export.kinds == schema.KIND_CODES["artist"])
    plays = plays_by_artist(export, past.up_to_test.take(listeners[::2])).toarray()[:, artists].astype(np.float64)
    plays /= np.maximum(np.linalg.norm(plays, axis=0), 1e-12)
    truth = plays.T @ plays
    np.fill_diagonal(truth, 0)
    near = co_listening(export, past.up_to_test.take(listeners[1::2][::every]), artist_damping=damping)
    found, discount = [], 1 / np.log2(np.arange(ARTISTS) + 2)
    for place, artist in enumerate(artists.tolist()):
        ideal = np.sort(truth[place])[::-1][:ARTISTS]
        rows = near.rows[artist, :ARTISTS]
        gains = truth[place, np.searchsorted(artists, rows[rows >= 0])]
        if ideal.sum() > 0:
            found.append((gains * discount[: len(gains)]).sum() / (ideal * discount[: len(ideal)]).sum())
    return float(np.mean(found)) if found else 0.0


def pairs_by_sound(export: Export) -> dict[str, Any]:
    """Pairs of equal title and artist by the cosine of their sound, and what is taken for the same recording."""
    names, _ = by_sound.names_of(export)
    parts = list(by_sound.pairs_of(names, export.durations_ms))
    one, other = np.unique(np.concatenate([np.zeros((2, 0), int), *map(np.stack, parts)], axis=1), axis=1)
    lengths = export.durations_ms[one], export.durations_ms[other]
    longest = np.maximum(*lengths)
    alike = np.abs(lengths[0] - lengths[1]) <= np.maximum(by_sound.MAX_DIFFERENCE_MS, by_sound.MAX_DIFFERENCE * longest)
    facts: dict[str, Any] = {"pairs": len(one), "of like length": int(alike.sum())}
    if export.sound_vectors is not None:
        cosines = by_sound.cosines(export.sound_vectors, one, other)
        edges = [-1, 0.9, 0.95, 0.98, 0.985, 0.99, 0.995, 0.999, 1.01]
        facts["of like length by cosine"] = {
            f"from {low:g}": int((alike & (cosines >= low) & (cosines < high)).sum()) for low, high in pairwise(edges)
        }
    same = by_sound.recordings(export)
    _, sizes = np.unique(same, return_counts=True)
    return facts | {
        "pairs of one recording": int((sizes * (sizes - 1) // 2).sum()),
        "again": int(len(same) - len(sizes)),
    }


def genres_imputed(export: Export, neighbours: int, sharpness: int, seed: int) -> float:
    """Share of hidden genres that the most imputed style is."""
    told = [[genre for genre in genres or [] if genre] for genres in export.contents["genres"].to_pylist()]
    given = np.flatnonzero([bool(genres) for genres in told])
    hidden = np.random.default_rng(seed).permutation(given)[: len(given) // 5]
    left = [[] if row in set(hidden.tolist()) else genres for row, genres in enumerate(told)]
    with patch.multiple(voting, NEIGHBOURS=neighbours, SHARPNESS=sharpness):
        styles = voting.styles(export, pa.chunked_array([pa.array(left, pa.list_(pa.string()))]))
    most = [styles.names[code] for code in styles.of(hidden).argmax(axis=1).tolist()]
    kinds = export.kinds[hidden].tolist()
    right = [
        name in {f"{schema.KINDS[kind]}: {genre}" for genre in told[row]}
        for name, kind, row in zip(most, kinds, hidden.tolist(), strict=True)
    ]
    return float(np.mean(right)) if right else 0.0


class Moved(Export):
    """An export at other vectors."""

    def __init__(self, export: Export, vectors: np.ndarray):
        super().__init__(export.folder, check_files=False)
        self.__dict__["vectors"] = vectors.astype(np.float32)


def regions_of(export: Export, earlier: Export | None = None) -> Regions:
    """Without a look at what the export itself may hold; kept with it for those that come after."""
    positives = np.bincount(chosen_lists(export).values, minlength=len(export.contents))
    styles = voting.styles(export, export.contents["genres"])
    found = regions(export, styles, positives, by_sound.recordings(export), earlier, None)
    export.__dict__["regions"] = found
    return found


def carried_on(first: Export, later: Export) -> dict[str, float]:
    """Returns the shares of common contents in a region of the same id, and of the same id and name."""
    before, after = first.regions, regions_of(later, first)
    assert before is not None
    rows = first.content_ids.rows(later.contents["content_id"])
    now = np.flatnonzero((rows >= 0) & (after.region_of_content >= 0))
    places = before.region_of_content[rows[now]], after.region_of_content[now]
    ids = before.ids[places[0]] == after.ids[places[1]]
    names = np.array(before.names, object)[places[0]] == np.array(after.names, object)[places[1]]
    kept = np.isin(after.ids, before.ids)
    return {
        "same id": float(ids.mean()),
        "same id and name": float((ids & names).mean()),
        "regions kept": float(kept.mean()),
    }


def agreement(export: Export, labels: Path) -> dict[str, float]:
    """Returns how far regions agree with the styles of labels.parquet: mutual information, and the share in their
    region's first style."""
    from sklearn.metrics import normalized_mutual_info_score

    table = pq.read_table(labels, columns=["content_id", "style"])
    known = dict(zip(table["content_id"].to_pylist(), table["style"].to_pylist(), strict=True))
    styles = np.array([known.get(content_id) or "" for content_id in export.content_ids])
    assert export.regions is not None
    places = export.regions.region_of_content
    told = (places >= 0) & (styles != "")
    most = sum(np.unique(styles[told & (places == place)], return_counts=True)[1].max() for place in set(places[told]))
    mutual = normalized_mutual_info_score(styles[told], places[told])
    return {"mutual information": float(mutual), "in the first style": float(most / max(told.sum(), 1))}


def moved(export: Export, noise: float) -> Export:
    """Turned at random, and each content moved by so much of its length."""
    draws, dim = np.random.default_rng(0), export.dim
    turn = np.linalg.qr(draws.normal(size=(dim, dim)))[0]
    vectors = export.vectors @ turn + noise * draws.normal(size=export.vectors.shape) / np.sqrt(dim)
    return Moved(export, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def by_damping(export: Export, every: tuple[int, ...]) -> dict[str, dict[str, float]]:
    past, judged = Past(export), {"contents": discoveries_found, "artists": artists_found}
    return {
        f"{name}, every {step}": {f"{damping:g}": judge(export, past, step, damping) for damping in DAMPINGS}
        for name, judge in judged.items()
        for step in every
    }


def shown(title: str, figures: dict[str, dict[str, float]]) -> None:
    columns = list(dict.fromkeys(key for row in figures.values() for key in row))
    table = Table("", *columns, title=title)
    for name, row in figures.items():
        table.add_row(name, *(f"{row[key]:.3f}" if key in row else "" for key in columns))
    Console().print(table)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("export", type=Path)
    parser.add_argument("--later", type=Path, nargs="*", default=[], help="versions that regions are carried on to")
    parser.add_argument("--labels", type=Path, default=DATA / "catalogue" / "labels.parquet")
    parser.add_argument("--every", type=int, nargs="+", default=EVERY, help="shares of the listeners: one in so many")
    add_smallest(parser, every=[1])
    arguments = parser.parse_args()
    export = Export(arguments.export, check_files=False)
    start = perf_counter()
    near = co_listening(export, chosen_lists(export))
    seconds = perf_counter() - start
    print(f"neighbours of {int((near.rows[:, 0] >= 0).sum()):,} contents in {seconds:.1f} s")
    damped = by_damping(export, tuple(arguments.every))
    shown("Co-listening by damping: recall@20 of discoveries, ndcg@10 of artists", damped)
    pairs = pairs_by_sound(export)
    print(pairs)
    imputed = {
        f"{neighbours} nearest, power {sharpness}": {
            f"seed {seed}": genres_imputed(export, neighbours, sharpness, seed) for seed in SEEDS
        }
        for neighbours, sharpness in VOTES
    }
    shown("Genres imputed: share right", imputed)
    found = regions_of(export)
    print(*(f"{one}: {name}" for one, name in zip(found.ids, found.names, strict=True)), sep="\n")
    held = agreement(export, arguments.labels)
    print(held)
    carried = {f"turned, moved by {noise:g}": carried_on(export, moved(export, noise)) for noise in NOISES}
    carried |= {str(path): carried_on(export, Export(path, check_files=False)) for path in arguments.later}
    shown("Regions carried on: share of contents", carried)
    write_result(
        arguments, "derived",
        {
            "export": export.version, "seconds": seconds, "by_damping": damped, "pairs": pairs, "imputed": imputed,
            "regions": list(found.names), "agreement": held, "carried_on": list(carried.values()),
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
