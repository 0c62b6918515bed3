"""Writes a version of an export, completely or not at all.

Vectors go to their files block by block, and files that do not need each other are written at the same time: memory
does not grow with the number of vectors, and the same network gives the same bytes.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from towers.contract import schema
from towers.data.store import write_arrow
from towers.evaluation.listening import Listening
from towers.manifest import atomic_directory, code_versions, point_to, write_json
from towers.publishing.alignment import align
from towers.publishing.card import model_card
from towers.publishing.chance import write_chance
from towers.publishing.codes import recall_of_codes
from towers.publishing.content_map import content_map
from towers.publishing.derived import write_derived
from towers.publishing.describing import canaries_of, described_store
from towers.publishing.index import recall_of_index
from towers.publishing.judged_space import JudgedSpace
from towers.publishing.leading import spread
from towers.publishing.long_term import write_long_term
from towers.publishing.mixture import write_mixture
from towers.publishing.onnx.parity import (
    check_parity,
    content_parity,
    events_of,
    listeners_compared,
    user_parity,
)
from towers.publishing.onnx.towers import export_content_tower, export_user_tower
from towers.publishing.onnx.variants import write_variants
from towers.publishing.owners import place_owners
from towers.publishing.projection import Projection
from towers.publishing.space import Space, by_dimension, own_space
from towers.publishing.tables import (
    blocks_of,
    vector_file,
    write_embeddings,
    write_mapped,
    write_order,
    write_vectors,
)  # fmt: skip
from towers.publishing.trained import ExportSettings, Trained
from towers.retrieval import files
from towers.retrieval.artists import artist_rows
from towers.retrieval.checksums import digest_line, digests_of_files
from towers.retrieval.content_encoder import ContentEncoder
from towers.retrieval.encoders import EVENT_COLUMNS, UserEncoder
from towers.retrieval.export import Export
from towers.retrieval.export_files import FORMAT
from towers.retrieval.files import mapped_array
from towers.retrieval.ids import Ids

CURRENT = "current"
JUDGED_TOWER = "judged_user_tower.onnx"
"""File of the judged network's user tower, which is deleted before the export is complete."""
LISTENERS_AT_ONCE = 16_384
LISTENERS_OF_VARIANTS = 200
CONTENT_COLUMNS = (
    "content_id", "kind", "title", "artist_ids", "album_id", "genres", "language", "release_date", "duration_ms",
    "explicit", "audio",
)  # fmt: skip
Progress = Callable[[str, int, int], None]


def write_export(
    target: Path, trained: Trained, settings: ExportSettings, earlier: Export | None, on_progress: Progress
) -> None:
    """Writes the folder `target`, named by its version.

    Args:
        target: folder of the version.
        trained: what to export.
        settings: settings of the export.
        earlier: version onto whose space the new one is mapped; null: the new one gets a space of its own.
        on_progress: called with the stage, how much is done, and of how much.

    Raises:
        UserError: the export has more dimensions than the model, or an exported tower differs from torch.
    """
    with atomic_directory(target) as folder, ThreadPoolExecutor(settings.num_threads) as threads:
        _Writer(trained, settings, earlier, folder, target.name, threads, on_progress).write()


def publish(target: Path) -> None:
    """Makes `current` beside `target` point to it, atomically."""
    point_to(target.parent / CURRENT, target)


class _Writer:
    """The writer of one export."""

    def __init__(
        self,
        trained: Trained,
        settings: ExportSettings,
        earlier: Export | None,
        folder: Path,
        version: str,
        threads: Executor,
        on_progress: Progress,
    ):
        self._trained, self._settings, self._earlier = trained, settings, earlier
        self._store, self._folder, self._version = trained.store, folder, version
        self._threads, self._on_progress = threads, on_progress
        self._num_contents = len(self._store.contents)
        self._running: list[Future[Any]] = []

    def write(self) -> None:
        """Writes all files, the manifest last."""
        inputs = self._write_inputs()
        space = self._space(inputs)
        # Before any thread starts: torch's exporter changes the warning filters of the whole process, and it parses
        # sources,
        # where two threads break each other until Python 3.11.8 (np.load parses, too).
        self._write_towers(space)
        judged = JudgedSpace.of(self._trained, inputs, space.projection)
        judged_tower = self._judged_tower(judged, space.space_id)
        self._write_contents(space)
        chance, self._chance = write_chance(self._folder / files.LISTEN_CHANCE, judged, space.space_id)
        self._on_progress("the learnt mixture", 0, 1)
        self._mixture = write_mixture(
            self._folder / files.MIXTURE, judged, chance, judged_tower, space.space_id, self._trained.max_length
        )
        self._on_progress("the learnt mixture", 1, 1)
        (self._folder / JUDGED_TOWER).unlink(missing_ok=True)
        self._start(self._settings.index.build, self._vectors(), self._folder / files.INDEX, space.space_id)
        self._start(self._write_map)
        self._start(self._write_histories)
        self._start(self._write_playlists)
        self._start(self._write_features)
        towers = self._compare_towers(inputs, space)
        self._write_users(inputs, space)
        for task in self._running:
            task.result()
        self._on_progress("neighbours", 0, 1)
        facts = {"format": FORMAT, "space_id": space.space_id, "dim": space.projection.dim}
        self._derived = write_derived(self._folder, facts, self._settings, self._earlier)
        self._on_progress("neighbours", 1, 1)
        self._on_progress("returns", 0, 1)
        self._long_term = self._write_long_term(space)
        self._on_progress("returns", 1, 1)
        if not space.projection.is_truncated:  # else the user tower reads what was cut off, too
            (self._folder / files.CONTENT_INPUTS).unlink()
        self._write_manifest(space, towers)

    def _judged_tower(self, judged: JudgedSpace | str, space_id: str) -> Path:
        """Returns the user tower that the mixture is fitted with; writes it where it is not the exported one."""
        if isinstance(judged, str) or judged.is_exported:
            return self._folder / files.USER_TOWER
        judged.write_user_tower(self._folder / JUDGED_TOWER, space_id)
        return self._folder / JUDGED_TOWER

    def _space(self, inputs: Float[np.ndarray, "contents model_dim"]) -> Space:
        """Returns the earlier version's space where it may be kept, else a new one; writes the contents' vectors in
        it."""
        trained, earlier = self._trained, self._earlier
        users = trained.user_vectors(trained.held_out.user_rows, inputs, "test")
        own, projection = own_space(self._version, trained, self._settings, earlier, inputs)
        self._write_content_vectors(inputs, projection)
        space_id, facts = own.space_id, {}
        if earlier is not None:
            self._on_progress("mapping onto the earlier version", 0, 1)
            found = align(
                earlier, trained.held_out, self._vectors(), projection.apply(users), own,
                min_recall_share=self._settings.min_recall_share, has_seen_test=trained.provenance.has_seen_test,
            )  # fmt: skip
            self._on_progress("mapping onto the earlier version", 1, 1)
            write_json(self._folder / files.DRIFT, found.report)
            if found.rotation is not None:
                found.rotation.save(self._folder)
            if found.matrix is not None and space_id != earlier.space_id:
                space_id, projection = earlier.space_id, projection.then(found.matrix)
                self._write_content_vectors(inputs, projection)
            facts = {"earlier": found.report["earlier"], "reason": found.report["reason"]}
        np.save(self._folder / files.AXES, projection.axes)
        facts |= by_dimension(trained, inputs, users, projection, self._vectors())
        return Space(space_id=space_id, projection=projection, facts=facts)

    def _write_content_vectors(self, inputs: Float[np.ndarray, "contents model_dim"], projection: Projection) -> None:
        path = self._folder / files.CONTENT_VECTORS
        path.unlink(missing_ok=True)  # it may be mapped
        blocks = (projection.apply(block) for block in blocks_of(inputs))
        write_vectors(path, blocks, len(inputs), projection.dim)

    def _write_inputs(self) -> Float[np.ndarray, "contents model_dim"]:
        """Writes and returns the network's own vectors of contents, which its user tower reads."""
        path, blocks = self._folder / files.CONTENT_INPUTS, self._trained.content_blocks()
        self._write_blocks(path, blocks, self._trained.two_tower.dim, np.float32, "contents")
        inputs = np.lib.format.open_memmap(path, mode="r+")
        place_owners(inputs, self._store.members, self._trained.positives > 0)
        inputs.flush()
        return np.asarray(np.load(path, mmap_mode="c"))  # torch wants arrays that could be written to

    def _write_contents(self, space: Space) -> None:
        projection = space.projection
        if self._trained.sounds is not None:
            sounds = (projection.apply(block) for block in self._trained.sound_blocks())
            self._write_blocks(self._folder / files.SOUND_VECTORS, sounds, projection.dim, np.float16, "sounds")
        # Only exports with withdrawn contents have the column, so that all other exports stay as they are.
        withdrawn = ["is_withdrawn"] if self._store.is_withdrawn.any() else []
        contents = self._store.contents.select([*CONTENT_COLUMNS, *withdrawn])
        positives = pa.array(self._trained.positives, pa.int64())
        recent = pa.array(Listening(self._store, "end").facts.recent_positives, pa.int64())
        contents = contents.append_column("train_positives", positives).append_column("recent_positives", recent)
        metadata = self._metadata(space)
        self._start(write_mapped, self._folder / files.CONTENTS, contents, metadata)
        self._start(write_order, self._folder / files.CONTENT_ORDER, contents["content_id"])
        parquet = contents.replace_schema_metadata(metadata)
        self._start(pq.write_table, parquet, self._folder / files.CONTENTS_FOR_ENGINES)
        named = contents.select(["content_id", "kind"])
        self._embed(files.CONTENT_EMBEDDINGS, named, files.CONTENT_VECTORS, metadata)

    def _write_users(self, inputs: Float[np.ndarray, "contents model_dim"], space: Space) -> None:
        """Writes the listeners' vectors; histories of similar length share a batch, so that there is little padding."""
        lengths = np.diff(self._store.histories.offsets)
        blocks = (
            space.projection.apply(self._encoded(rows, lengths[rows], inputs))
            for rows in blocks_of(np.arange(len(lengths)), LISTENERS_AT_ONCE)
        )
        self._write_blocks(self._folder / files.USER_VECTORS, blocks, space.projection.dim, np.float32, "listeners")
        users, metadata = self._users(), self._metadata(space)
        self._start(write_mapped, self._folder / files.USERS, users, metadata)
        self._start(write_order, self._folder / files.USER_ORDER, users["user_id"])
        self._embed(files.USER_EMBEDDINGS, users, files.USER_VECTORS, metadata)

    def _encoded(self, rows: np.ndarray, lengths: np.ndarray, inputs: np.ndarray) -> Float[np.ndarray, "block dim"]:
        by_length = np.argsort(lengths, kind="stable")
        vectors = np.empty((len(rows), inputs.shape[1]), np.float32)
        vectors[by_length] = self._trained.user_vectors(rows[by_length], inputs, "end")
        return vectors

    def _users(self) -> pa.Table:
        """Returns the time of each listener's last event, and their number of events."""
        histories = self._store.histories
        counts = np.diff(histories.offsets)
        has_events = (counts > 0) & self._store.has_clock
        last = np.maximum(histories.offsets[1:] - 1, 0)
        times = histories.timestamp_us[last] if len(histories.timestamp_us) else np.zeros(len(counts), np.int64)
        as_of = pa.array(times, pa.timestamp("us", tz="UTC"), mask=~has_events)
        ids = self._store.users["user_id"].cast(pa.string())
        return pa.table({"user_id": ids, "as_of": as_of, "num_events": pa.array(counts, pa.int64())})

    def _embed(self, name: str, table: pa.Table, vectors: str, metadata: dict[str, str]) -> None:
        folder, rows = self._folder / name, self._settings.rows_per_part
        self._running += write_embeddings(folder, table, self._folder / vectors, metadata, rows, self._threads)

    def _write_blocks(self, path: Path, blocks: Iterator[np.ndarray], dim: int, dtype: Any, stage: str) -> None:
        rows = len(self._store.users) if stage == "listeners" else self._num_contents
        done = 0
        with vector_file(path, rows, dim, dtype) as file:
            for block in blocks:
                file.append(block)
                done += len(block)
                self._on_progress(stage, done, rows)

    def _write_map(self) -> None:
        np.save(self._folder / files.CONTENT_MAP, content_map(self._vectors()))

    def _write_histories(self) -> None:
        histories = self._store.histories
        folder = self._folder / files.HISTORIES
        folder.mkdir()
        events = pa.table({name: np.asarray(getattr(histories, name)) for name in (*EVENT_COLUMNS, *schema.UNTOLD)})
        write_arrow(folder / files.HISTORY_EVENTS, events)
        np.save(folder / files.HISTORY_OFFSETS, np.asarray(histories.offsets))
        np.save(folder / files.USER_CODES, self._store.user_codes)

    def _write_playlists(self) -> None:
        write_arrow(self._folder / files.PLAYLISTS, self._store.playlists.combine_chunks())

    def _write_long_term(self, space: Space) -> dict[str, Any]:
        contents = self._store.contents
        artists = artist_rows(contents["artist_ids"], Ids.of(contents["content_id"]), self._store.kind_codes)
        return write_long_term(
            self._folder / files.LONG_TERM, self._store, self._vectors(), artists, space.space_id,
            self._trained.provenance.trained_until_us, self._settings.long_term,
        )  # fmt: skip

    def _write_features(self) -> None:
        settings = self._store.features
        write_json(self._folder / files.FEATURES, settings.to_dict())
        (self._folder / files.VOCABULARIES).mkdir()
        for name in (*settings.content_parts, *settings.user_columns, *schema.EVENT_VOCABULARIES):
            self._store.vocabulary(name).write(self._folder / files.VOCABULARIES / f"{name}.parquet")

    def _write_towers(self, space: Space) -> None:
        two_tower, projection, space_id = self._trained.two_tower, space.projection, space.space_id
        export_user_tower(
            two_tower.user_tower, two_tower.dim, self._store.user_codes.shape[1], self._folder / files.USER_TOWER,
            space_id, reads=projection.reads, writes=projection.writes,
        )  # fmt: skip
        if two_tower.content_tower.has_content:
            path = self._folder / files.CONTENT_TOWER
            export_content_tower(two_tower, self._store.features, path, space_id, writes=projection.writes)

    def _compare_towers(self, inputs: Float[np.ndarray, "contents model_dim"], space: Space) -> dict[str, Any]:
        """Returns how far both towers are from torch, by name, and the user tower's variants, which are made from
        it."""
        two_tower, projection, path = self._trained.two_tower, space.projection, self._folder / files.USER_TOWER
        rows = listeners_compared(self._store)
        expected = projection.apply(self._trained.user_vectors(rows, inputs, "end"))
        found = {files.USER_TOWER: user_parity(self._user_encoder(path, inputs, space), self._store, rows, expected)}
        found |= self._write_variants(path, inputs, space)
        if two_tower.content_tower.has_content:
            encoder = ContentEncoder(self._folder / files.CONTENT_TOWER, space.space_id)
            found[files.CONTENT_TOWER] = content_parity(
                encoder, two_tower, self._store, self._trained.sounds, projection.apply,
                self._settings.max_parity_difference,
            )  # fmt: skip
        check_parity(found, self._settings.max_parity_difference)
        return found

    def _write_variants(self, path: Path, inputs: np.ndarray, space: Space) -> dict[str, Any]:
        rows = listeners_compared(self._store, LISTENERS_OF_VARIANTS)
        codes = self._store.user_codes[rows]
        histories = [events_of(self._store, row) for row in rows.tolist()]

        def encoded(file: Path) -> Float[np.ndarray, "listeners dim"]:
            encoder = self._user_encoder(file, inputs, space)
            # One by one, as in serving, since an int8 variant scales by its input.
            pairs = zip(histories, codes, strict=True)
            return np.stack([encoder.encode(events, of_one) for events, of_one in pairs])

        settings = self._settings
        variants = write_variants(path, settings.variants, encoded, self._vectors(), settings.min_variant_overlap)
        return {f"{path.stem}.{variant.name}{path.suffix}": variant.figures() for variant in variants}

    def _user_encoder(self, path: Path, inputs: np.ndarray, space: Space) -> UserEncoder:
        contents = inputs if space.projection.is_truncated else self._vectors()
        return UserEncoder(path, contents, space.space_id, self._trained.max_length, self._store.has_clock)

    def _write_manifest(self, space: Space, towers: dict[str, Any]) -> None:
        trained, settings = self._trained, self._settings
        contents, users = (mapped_array(self._folder / name) for name in (files.CONTENT_VECTORS, files.USER_VECTORS))
        manifest = {
            "format": FORMAT,
            "version": self._version,
            "source": trained.source(settings),
            "space_id": space.space_id,
            "dim": space.projection.dim,
            "model_dim": space.projection.model_dim,
            "metric": "inner product of unit vectors",
            "dtype": "float32",
            **described_store(self._store),
            "max_length": trained.max_length,
            "trained_until_us": trained.provenance.trained_until_us,
            "has_seen_validation": trained.provenance.has_seen_validation,
            "has_seen_test": trained.provenance.has_seen_test,
            "weights": trained.weights,
            "config": trained.config,
            "metrics": trained.metrics,
            "space": space.facts,
            "towers": towers,
            "listen_chance": self._chance,
            "mixture": self._mixture,
            "derived": self._derived,
            "long_term": self._long_term,
            "codes": recall_of_codes(spread(users), contents, trained.held_out.is_candidate),
            "index_recall@10": recall_of_index(self._folder / files.INDEX, space.space_id, contents),
            "canaries": canaries_of("content_id", Ids.of(self._store.contents["content_id"]), contents),
            "user_canaries": canaries_of("user_id", Ids.of(self._store.users["user_id"]), users),
            "libraries": code_versions(),
        }
        (self._folder / files.MODEL_CARD).write_text(model_card(manifest))
        names = sorted(str(path.relative_to(self._folder)) for path in self._folder.rglob("*") if path.is_file())
        manifest["files"] = digests_of_files(self._folder, names)
        write_json(self._folder / files.MANIFEST, manifest)
        (self._folder / files.MANIFEST_DIGEST).write_text(digest_line(self._folder))

    def _vectors(self) -> Float[np.ndarray, "contents dim"]:
        return mapped_array(self._folder / files.CONTENT_VECTORS)

    def _metadata(self, space: Space) -> dict[str, str]:
        return {"space_id": space.space_id, "version": self._version}

    def _start(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._running.append(self._threads.submit(function, *arguments))
