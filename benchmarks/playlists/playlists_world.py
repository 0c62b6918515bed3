"""A made-up export, as large as asked, that `playlists_speed.py` makes lists over: written with the project's writers.

Nothing in it was trained. Contents are unit vectors in clusters of some 500, artists and co-listening neighbours lie
within clusters, and a listener listens to two to five of them; the user tower has the default size and hands on, more
or less, the vector of the last content, so that each taste of a listener lies in a cluster of theirs. Weights of both
models are those of an export of the project's catalogue, rounded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import torch

from benchmarks.serving.serving_search import SETTINGS
from towers.contract import schema
from towers.contract.durations import DAY_US
from towers.contract.events import is_positive, microseconds_of
from towers.data.store import write_arrow
from towers.features.ragged import Ragged
from towers.manifest import atomic_directory, write_json
from towers.models.user_tower import UserTower
from towers.publishing.index import IvfSettings
from towers.publishing.onnx.towers import export_user_tower
from towers.publishing.tables import write_mapped, write_order
from towers.retrieval import files
from towers.retrieval.checksums import digest_line
from towers.retrieval.co_listening import Neighbours
from towers.retrieval.export_files import FORMAT
from towers.retrieval.listen_chance import ListenChance, LogOdds
from towers.retrieval.mixture import Mixture
from towers.retrieval.styles import Styles

SPACE, DIM, MAX_LENGTH = "benchmark", 64, 200
END = datetime(2026, 7, 6, tzinfo=UTC)
DAYS_OF_HISTORY, DAYS_OF_RELEASES = 126, 10_000
OF_CLUSTER, OF_ARTIST = 500, 12
"""Contents of a cluster, and of an artist, in the mean."""
NOISE = 0.7
"""Standard deviation of each component about its cluster's centre, whose components have deviation 1."""
NEIGHBOURS, STYLES, CONTEXTS = 50, 40, 8
EVENTS, KNOWN, TASTES = (50, 400), 200, (2, 5)
"""Ranges for a listener: fewest and most events, contents that they are drawn from, fewest and most clusters of
these."""
KIND_SHARES = {"track": 0.85, "episode": 0.05, "artist": 1 / OF_ARTIST}
"""The rest are playlists."""
HEARD = LogOdds(
    intercept=-3.581,
    weights=np.array([0.679, -0.232, 0.706, -0.164, 0.048, -0.381, 1.025, 0.794, 0.067, -0.067]),
    curve=(-0.088, 0.889, -0.027),
)
NEW = LogOdds(
    intercept=-7.992,
    weights=np.array([0.0, 0.0, 0.0, 0.0, 0.331, 0.0, 5.855, 0.0, 0.335, 0.195]),
    curve=(-1.364, 0.437, -0.053),
)
MIXTURE = LogOdds(
    intercept=-2.274,
    weights=np.array([-2.883, 5.251, 0.578, 0.164, 0.230, 1.142, -0.239, -0.076, -0.081, 0.275]),
    curve=(0.092, 1.041, 0.004),
)
COLD_SHARE = 0.012


def write_world(folder: Path, contents: int, listeners: int, layers: int, seed: int) -> None:
    """Writes the export, whole or not at all; `layers` are the user tower's."""
    with atomic_directory(folder) as partial:
        _World(partial, contents, listeners, np.random.default_rng(seed)).write()
        _write_tower(partial / files.USER_TOWER, layers, seed)


@dataclass
class _World:
    """The part that is being written.

    Args:
        folder: of the export.
        contents: how many.
        listeners: how many.
        random: that everything is drawn from.
    """

    folder: Path
    contents: int
    listeners: int
    random: np.random.Generator

    def write(self) -> None:
        """All files but the user tower."""
        np.save(self.folder / files.CONTENT_VECTORS, self._vectors)
        noise = self.random.standard_normal(self._vectors.shape, np.float32) * np.float32(0.1)
        np.save(self.folder / files.SOUND_VECTORS, _unit(self._vectors + noise).astype(np.float16))
        self._write_contents()
        np.save(self.folder / files.RECORDINGS, self._recordings)
        self._neighbours().write(self.folder / files.CO_LISTENING)
        self._styles().write(self.folder / files.STYLES)
        self._write_listeners()
        chance = ListenChance(heard=HEARD, new=NEW, window={"days": 7.0}, fitted={})
        chance.write(self.folder / files.LISTEN_CHANCE, SPACE)
        Mixture(odds=MIXTURE, fitted={"cold_share": COLD_SHARE}).write(self.folder / files.MIXTURE, SPACE)
        IvfSettings(min_contents=20_000, **SETTINGS).build(self._vectors, self.folder / files.INDEX, SPACE)
        manifest = {"format": FORMAT, "space_id": SPACE, "dim": DIM, "max_length": MAX_LENGTH, "has_clock": True}
        write_json(self.folder / files.MANIFEST, {**manifest, "window": {"end": END.isoformat()}})
        (self.folder / files.MANIFEST_DIGEST).write_text(digest_line(self.folder))

    # Contents

    @cached_property
    def _num_clusters(self) -> int:
        return max(self.contents // OF_CLUSTER, TASTES[1])

    @cached_property
    def _cluster(self) -> np.ndarray:
        return self.random.integers(self._num_clusters, size=self.contents)

    @cached_property
    def _vectors(self) -> np.ndarray:
        centres = self.random.standard_normal((self._num_clusters, DIM), np.float32)
        noise = self.random.standard_normal((self.contents, DIM), np.float32)
        return _unit(centres[self._cluster] + np.float32(NOISE) * noise)

    @cached_property
    def _kind(self) -> np.ndarray:
        shares = [KIND_SHARES.get(kind, 0.0) for kind in schema.KINDS]
        shares[schema.KIND_CODES["playlist"]] = 1 - sum(shares)
        return self.random.choice(len(schema.KINDS), self.contents, p=shares)

    @cached_property
    def _is_playable(self) -> np.ndarray:
        return np.isin(self._kind, [schema.KIND_CODES[kind] for kind in schema.PLAYABLE_KINDS])

    @cached_property
    def _artists(self) -> Ragged:
        """Rows of one or two artists of a content's cluster, their sizes by Zipf's law; recordings share theirs."""
        counts = np.where(self._is_playable, 1 + (self.random.random(self.contents) < 0.2), 0)
        flat = np.repeat(np.arange(self.contents), counts)
        artists = np.full(len(flat), -1)
        for places, of_cluster in zip(
            _groups(self._cluster[flat], self._num_clusters), self._rows_of("artist"), strict=True
        ):
            if len(of_cluster):
                weights = 1 / np.arange(1, len(of_cluster) + 1)
                artists[places] = self.random.choice(of_cluster, len(places), p=weights / weights.sum())
        lists = Ragged(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), artists)
        return lists.where(artists >= 0).unique().take(self._recordings)

    def _rows_of(self, kind: str) -> Iterator[np.ndarray]:
        """Returns the rows of a kind by cluster."""
        rows = np.flatnonzero(self._kind == schema.KIND_CODES[kind])
        return (rows[places] for places in _groups(self._cluster[rows], self._num_clusters))

    def _write_contents(self) -> None:
        count, names = self.contents, pa.array(schema.KINDS)
        ids = pa.array([f"content-{row:08d}" for row in range(count)])
        artists = self._artists
        is_cold = self.random.random(count) < 0.05
        plays = np.where(is_cold, 0, (self.random.pareto(1.0, count) * 2).astype(np.int64))
        released = np.datetime64(END.date(), "D") - self.random.integers(-50, DAYS_OF_RELEASES, count)
        genres = pa.array([f"genre-{style}" for style in range(STYLES)])
        table = pa.table(
            {
                "content_id": ids,
                "kind": names.take(pa.array(self._kind)),
                "title": pa.array([f"Title {row}" for row in range(count)]),
                "artist_ids": pa.ListArray.from_arrays(artists.offsets.astype(np.int32), ids.take(artists.values)),
                "genres": pa.ListArray.from_arrays(
                    np.arange(count + 1, dtype=np.int32), genres.take(self._cluster % STYLES)
                ),
                "release_date": pa.array(released, pa.date32()),
                "duration_ms": pa.array(self.random.integers(60_000, 400_000, count)),
                "explicit": pa.array(self.random.random(count) < 0.05),
                "train_positives": pa.array(np.where(is_cold, 0, 10 * plays + 1)),
                "recent_positives": pa.array(plays),
            }
        )
        write_mapped(self.folder / files.CONTENTS, table, {"space_id": SPACE})
        write_order(self.folder / files.CONTENT_ORDER, table["content_id"])

    @cached_property
    def _recordings(self) -> np.ndarray:
        """Every fiftieth track of a cluster is the recording of the one before."""
        same = np.arange(self.contents, dtype=np.int32)
        for rows in self._rows_of("track"):
            again = rows[1::50]
            same[again] = rows[::50][: len(again)]
        return same

    def _neighbours(self) -> Neighbours:
        """Returns for each content the nearest of its cluster, with falling weights."""
        shape = (self.contents, NEIGHBOURS)
        found = Neighbours(rows=np.full(shape, -1, np.int32), weights=np.zeros(shape, np.float32))
        for mask in (self._is_playable, self._kind == schema.KIND_CODES["artist"]):
            rows_of_mask = np.flatnonzero(mask)
            for places in _groups(self._cluster[rows_of_mask], self._num_clusters):
                rows = rows_of_mask[places]
                count = min(NEIGHBOURS, len(rows) - 1)
                if count < 1:
                    continue
                vectors = self._vectors[rows]
                _, near = faiss.knn(vectors, vectors, count + 1, metric=faiss.METRIC_INNER_PRODUCT)
                found.rows[rows, :count] = rows[near[:, 1:]]
                weights = 0.6 * self.random.random((len(rows), count), np.float32) ** 2
                found.weights[rows, :count] = -np.sort(-weights, axis=1)
        return found

    def _styles(self) -> Styles:
        return Styles(
            names=tuple(f"style {style}" for style in range(STYLES)),
            codes=Ragged(np.arange(self.contents + 1), (self._cluster % STYLES).astype(np.int32)),
            shares=np.ones(self.contents, np.float32),
            is_given=np.ones(self.contents, bool),
        )

    # Listeners

    def _write_listeners(self) -> None:
        playable = np.flatnonzero(self._is_playable)
        of_cluster = [playable[places] for places in _groups(self._cluster[playable], self._num_clusters)]
        histories = [self._history(of_cluster) for _ in range(self.listeners)]
        events = pa.concat_tables(histories)
        offsets = np.concatenate([[0], np.cumsum([len(history) for history in histories])]).astype(np.int64)
        folder = self.folder / files.HISTORIES
        folder.mkdir()
        write_arrow(folder / files.HISTORY_EVENTS, events.combine_chunks())
        np.save(folder / files.HISTORY_OFFSETS, offsets)
        np.save(folder / files.USER_CODES, np.zeros((self.listeners, 0), np.int32))
        chosen = [history.filter(history["is_positive"])["content_row"].to_numpy() for history in histories]
        np.save(self.folder / files.USER_VECTORS, _unit(np.stack([self._vectors[rows].mean(0) for rows in chosen])))
        users = pa.table({"user_id": [f"listener-{row:08d}" for row in range(self.listeners)]})
        write_mapped(self.folder / files.USERS, users, {"space_id": SPACE})
        write_order(self.folder / files.USER_ORDER, users["user_id"])

    def _history(self, of_cluster: list[np.ndarray]) -> pa.Table:
        """Events of one listener, in time order: some contents often, most of them seldom."""
        clusters = self.random.choice(len(of_cluster), self.random.integers(TASTES[0], TASTES[1] + 1), replace=False)
        near = np.concatenate([of_cluster[cluster] for cluster in clusters])
        known = self.random.choice(near, min(KNOWN, len(near)), replace=False)
        weights = 1 / np.arange(1, len(known) + 1) ** 0.5
        count = int(self.random.integers(EVENTS[0], EVENTS[1] + 1))
        rows = self.random.choice(known, count, p=weights / weights.sum()).astype(np.int32)
        actions = [schema.PLAY, schema.SKIP, schema.LIKE, schema.SAVE, schema.DISLIKE]
        action = self.random.choice(actions, count, p=[0.61, 0.31, 0.04, 0.03, 0.01]).astype(np.int8)
        played = np.where(action == schema.PLAY, self.random.random(count) ** 0.3, -1).astype(np.float32)
        first_us = microseconds_of(END) - DAYS_OF_HISTORY * DAY_US
        positive = is_positive(content_row=rows, action=action, played_fraction=played, min_played_fraction=0.5)
        return pa.table(
            {
                "content_row": rows,
                "action": action,
                "timestamp_us": np.sort(self.random.integers(first_us, microseconds_of(END), count)),
                "played_fraction": played,
                "context": self.random.integers(CONTEXTS, size=count).astype(np.int32),
                "is_positive": positive,
            }
        )


def _write_tower(path: Path, layers: int, seed: int) -> None:
    """Makes a tower of the default width; its first and last layer hand vectors on as they are."""
    torch.manual_seed(seed)
    tower = UserTower((), CONTEXTS, DIM, dim=DIM, num_layers=layers, num_heads=2, dropout=0.0).eval()
    plain = {"_content.weight": torch.eye(DIM), "_out.weight": torch.eye(DIM), "_out.bias": torch.zeros(DIM)}
    tower.load_state_dict({**tower.state_dict(), **plain})
    export_user_tower(tower, DIM, 0, path, SPACE)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _groups(codes: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """Returns where each code from 0 to `count` stands."""
    order = np.argsort(codes, kind="stable")
    return iter(np.split(order, np.searchsorted(codes[order], np.arange(1, count))))
