"""Writes the clean tables as a store's flat arrays, piece by piece."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from towers.contract import schema
from towers.contract.playlists import PLAYLIST_COLUMNS
from towers.data.histories import HISTORY_COLUMNS
from towers.data.store import write_arrow, write_ragged
from towers.data.tables import Tables
from towers.features.metadata import build_vocabulary, encode_part, part_values
from towers.features.ragged import Ragged
from towers.features.settings import FeatureSettings
from towers.features.text import category_text
from towers.features.vocabulary import Vocabulary

# Contexts, devices and listener columns, like all vocabularies, are those of the training period.
TRAIN_VALUES = """
SELECT DISTINCT histories.{name}
FROM histories INNER JOIN boundaries ON boundaries.user_row = histories.user_row
WHERE histories.ordinal < boundaries.num_train AND histories.{name} IS NOT NULL
"""

# Features or not: evaluation divides listeners by any of them.
USERS = """
SELECT users.user_id, listed.* EXCLUDE (user_id, deleted, dates_lost, row_hash, filename, file_row_number, reason)
FROM users
LEFT JOIN (SELECT * FROM judged_users WHERE reason IS NULL) AS listed ON listed.user_id = users.user_id
ORDER BY users.user_row
"""


class StoreWriter:
    """One store being written.

    Args:
        clean: the tables, built.
        features: what to encode.
        folder: where to write.
        on_progress: called with (stage, done, all).
    """

    def __init__(
        self, clean: Tables, features: FeatureSettings, folder: Path, on_progress: Callable[[str, int, int], None]
    ):
        self._clean = clean
        self._features = features
        self._folder = folder
        self._on_progress = on_progress

    def write(self) -> None:
        """Writes contents, playlists, users and histories."""
        (self._folder / "vocabularies").mkdir(parents=True)
        self._write_contents()
        self._write_playlists()
        self._write_users()
        self._write_histories()

    def _write_contents(self) -> None:
        contents = self._clean.table(
            "SELECT contents.*, train_positives, train_plays, train_events FROM contents "
            "INNER JOIN counts ON counts.content_row = contents.content_row ORDER BY contents.content_row"
        )
        wide = {"train_positives": pa.int64(), "train_plays": pa.int64(), "train_events": pa.int64()}
        for name, kind in wide.items():
            contents = contents.set_column(contents.column_names.index(name), name, contents[name].cast(kind))
        write_arrow(self._folder / "contents.arrow", contents.combine_chunks())
        is_in_training = contents["train_events"].to_numpy() > 0
        columns = {name: contents[name].to_pylist() for name in contents.column_names}
        for part in self._features.content_parts:
            values = part_values(part, columns)
            vocabulary = build_vocabulary(values, is_in_training)
            vocabulary.write(self._vocabulary_path(part))
            write_ragged(self._folder / "codes" / part, encode_part(values, vocabulary))
        pairs = self._clean.table("SELECT owner_row, member_row FROM members ORDER BY owner_row, member_row")
        owners = pairs["owner_row"].to_numpy()
        offsets = np.searchsorted(owners, np.arange(len(contents) + 1)).astype(np.int64)
        write_ragged(self._folder / "members", Ragged(offsets, pairs["member_row"].to_numpy().astype(np.int32)))

    def _write_playlists(self) -> None:
        """Each with its contents in the order of the raw list; ids that no content bears are left out."""
        listed = self._clean.table("SELECT * FROM playlists ORDER BY content_row").combine_chunks()
        ids = self._clean.table("SELECT content_id FROM contents ORDER BY content_row")["content_id"]
        lists = listed["content_ids"].combine_chunks()
        members = pc.call_function("index_in", [lists.flatten()], pc.SetLookupOptions(value_set=ids))
        rows = members.fill_null(-1).to_numpy()
        entries = Ragged(np.append(0, np.cumsum(lists.value_lengths())).astype(np.int64), rows)
        is_other = rows != np.repeat(listed["content_row"].to_numpy(), entries.lengths)
        kept = entries.where((rows >= 0) & is_other)
        member_rows = pa.ListArray.from_arrays(pa.array(kept.offsets, pa.int32()), pa.array(kept.values, pa.int32()))
        columns = [*(listed[name] for name in PLAYLIST_COLUMNS.names[:-1]), member_rows]
        write_arrow(self._folder / "playlists.arrow", pa.table(columns, PLAYLIST_COLUMNS.names).cast(PLAYLIST_COLUMNS))

    def _write_users(self) -> None:
        names = self._features.user_columns
        selected = "".join(f', listed."{name}"' for name in names)
        users = self._clean.table(
            f"SELECT users.user_id, boundaries.num_train > 0 AS is_in_training{selected} FROM users "
            "INNER JOIN boundaries ON boundaries.user_row = users.user_row "
            "LEFT JOIN (SELECT * FROM judged_users WHERE reason IS NULL) AS listed ON listed.user_id = users.user_id "
            "ORDER BY users.user_row"
        )
        write_arrow(self._folder / "users.arrow", self._clean.table(USERS).combine_chunks())
        is_in_training = users["is_in_training"].to_numpy()
        codes = np.zeros((len(users), len(names)), dtype=np.int32)
        for place, name in enumerate(names):
            texts = [category_text(value) for value in users[name].to_pylist()]
            vocabulary = Vocabulary(
                text for text, known in zip(texts, is_in_training, strict=True) if known and text is not None
            )
            vocabulary.write(self._vocabulary_path(name))
            codes[:, place] = vocabulary.encode(texts)
        np.save(self._folder / "user_codes.npy", codes)

    def _write_histories(self) -> None:
        folder = self._folder / "histories"
        folder.mkdir()
        boundaries = self._clean.table("SELECT * FROM boundaries ORDER BY user_row")
        lengths = boundaries["num_events"].to_numpy().astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        np.save(folder / "offsets.npy", offsets)
        np.save(folder / "train_end.npy", offsets[:-1] + boundaries["num_train"].to_numpy().astype(np.int64))
        np.save(folder / "test_start.npy", offsets[:-1] + boundaries["num_before_test"].to_numpy().astype(np.int64))
        vocabularies = {}
        for name in schema.EVENT_VOCABULARIES:
            vocabularies[name] = Vocabulary(self._clean.table(TRAIN_VALUES.format(name=name))[name].to_pylist())
            vocabularies[name].write(self._vocabulary_path(name))
        total, done = int(offsets[-1]), 0
        query = (
            "SELECT content_row, action_code AS action, timestamp_us, played_fraction, context, session, device, "
            "is_positive, is_discovery FROM histories ORDER BY user_row, ordinal"
        )
        with ExitStack() as stack:
            # Not through a memory map: a disk that is full ends a process that writes to one, without a word.
            files = {name: stack.enter_context((folder / f"{name}.npy").open("wb")) for name in HISTORY_COLUMNS}
            for name, dtype in HISTORY_COLUMNS.items():
                described = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (total,)}
                np.lib.format.write_array_header_1_0(files[name], described)
            for batch in self._clean.batches(query):
                for name, dtype in HISTORY_COLUMNS.items():
                    numbers = _numbers(name, batch.column(name), vocabularies.get(name))
                    files[name].write(np.ascontiguousarray(numbers, dtype).tobytes())
                done += len(batch)
                self._on_progress("histories", done, total)

    def _vocabulary_path(self, name: str) -> Path:
        return self._folder / "vocabularies" / f"{name}.parquet"


def _numbers(name: str, column: pa.Array, vocabulary: Vocabulary | None) -> np.ndarray:
    if vocabulary is not None:
        # Encoding the distinct values alone: a few contexts stand for millions of events.
        encoded = column.dictionary_encode()
        codes = np.concatenate([vocabulary.encode(encoded.dictionary.to_pylist()), [0]])
        return codes[encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)]
    if name == "played_fraction":
        return column.fill_null(schema.UNKNOWN_PLAYED_FRACTION).to_numpy(zero_copy_only=False)
    return column.to_numpy(zero_copy_only=False)
