"""Writes a store's arrays and tables from the event log and the clean lists, piece by piece."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from towers.contract.playlists import PLAYLIST_COLUMNS
from towers.data.cutting import TrainingCounts, count_training, write_codes, write_ends
from towers.data.event_log.log import EventLog
from towers.data.filters.applying import apply_filters, filters_of
from towers.data.filters.filter import Filter
from towers.data.histories_writer import HistoriesWriter, Seen
from towers.data.splits.split import Cuts, Split
from towers.data.store import write_arrow, write_ragged
from towers.data.tables import Tables
from towers.features.metadata import content_values, encode_values, trained_vocabulary
from towers.features.ragged import Ragged
from towers.features.settings import FeatureSettings
from towers.features.text import category_text
from towers.features.vocabulary import UNKNOWN, Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Counts made while a store was written.

    Args:
        events: number of events in all histories.
        seen: counts made while the histories were written.
        cuts: the instants of the split.
        counts: counts of training and of each period.
        left_out: number of events that each filter left out.
    """

    events: int
    seen: Seen
    cuts: Cuts
    counts: TrainingCounts
    left_out: dict[str, int]


class StoreWriter:
    """Writes one store.

    Args:
        clean: the database, in which listeners and contents are known.
        log: the event log, with the rows of ids.
        features: settings of the columns to encode.
        folder: folder to write to.
        on_progress: called with (stage, done, all).
    """

    def __init__(
        self,
        *,
        clean: Tables,
        log: EventLog,
        features: FeatureSettings,
        folder: Path,
        on_progress: Callable[[str, int, int], None],
    ):
        self._clean, self._log, self._features = clean, log, features
        self._folder, self._on_progress = folder, on_progress
        self._num_contents = len(log.rows.contents)

    def write(self, split: Split, filters: Mapping[str, Filter], has_clock: bool) -> "Written":
        """Writes histories, contents, playlists and users.

        Raises:
            UserError: no positive event, an impossible split, or filters that leave nothing.
        """
        (self._folder / "vocabularies").mkdir(parents=True)
        histories = self._folder / "histories"
        seen = self._write_histories(histories)
        cuts = split.cuts(*seen.bounds, has_clock)
        write_ends(histories, split, cuts)
        left_out = apply_filters(histories, filters_of(cuts, filters), self._num_contents)
        rows = self._log.rows
        texts = {"context": rows.contexts.ids.to_pylist(), "device": rows.devices.ids.to_pylist()}
        counts = count_training(histories, self._num_contents, {name: len(known) for name, known in texts.items()})
        for name, known in texts.items():
            vocabulary = Vocabulary(np.array(known, dtype=object)[counts.codes[name]].tolist())
            vocabulary.write(self._vocabulary_path(name))
            write_codes(histories, name, vocabulary, known)
        contents = self._write_contents(counts)
        self._write_playlists(contents)
        offsets, train_end = np.load(histories / "offsets.npy"), np.load(histories / "train_end.npy")
        self._write_users(train_end > offsets[:-1])
        return Written(events=int(offsets[-1]), seen=seen, cuts=cuts, counts=counts, left_out=left_out)

    def _write_contents(self, counts: TrainingCounts) -> pa.Table:
        listed = self._clean.table("contents")
        contents = by_row(listed, "content_row", self._num_contents)
        is_withdrawn = contents["is_withdrawn"].fill_null(False)
        contents = contents.set_column(contents.column_names.index("is_withdrawn"), "is_withdrawn", is_withdrawn)
        for name in ("positives", "plays", "events"):
            contents = contents.append_column(f"train_{name}", pa.array(getattr(counts, name)))
        write_arrow(self._folder / "contents.arrow", contents.combine_chunks())
        for part in self._features.content_parts:
            values, texts = content_values(part, contents)
            vocabulary = trained_vocabulary(values, texts, counts.events > 0)
            vocabulary.write(self._vocabulary_path(part))
            write_ragged(self._folder / "codes" / part, encode_values(values, texts, vocabulary))
        pairs = self._clean.table("members", ("owner_row", "member_row"))
        owners = pairs["owner_row"].to_numpy()
        offsets = np.searchsorted(owners, np.arange(len(contents) + 1)).astype(np.int64)
        write_ragged(self._folder / "members", Ragged(offsets, pairs["member_row"].to_numpy().astype(np.int32)))
        return contents

    def _write_playlists(self, contents: pa.Table) -> None:
        """Writes each playlist with its contents in the raw order; ids that no content has are left out."""
        listed = self._clean.table("playlists", ("content_row",))
        # Taken row by row, null slots hold nothing: what an engine leaves there would be written as well.
        listed = listed.take(pa.array(np.arange(len(listed)))).combine_chunks()
        ids = contents["content_id"].combine_chunks()
        lists = listed["content_ids"].combine_chunks()
        members = pc.call_function("index_in", [lists.flatten()], pc.SetLookupOptions(value_set=ids, skip_nulls=True))
        rows = members.fill_null(-1).to_numpy()
        entries = Ragged(np.append(0, np.cumsum(lists.value_lengths())).astype(np.int64), rows)
        is_other = rows != np.repeat(listed["content_row"].to_numpy(), entries.lengths)
        kept = entries.where((rows >= 0) & is_other)
        member_rows = pa.ListArray.from_arrays(pa.array(kept.offsets, pa.int32()), pa.array(kept.values, pa.int32()))
        columns = [*(listed[name] for name in PLAYLIST_COLUMNS.names[:-1]), member_rows]
        write_arrow(self._folder / "playlists.arrow", pa.table(columns, PLAYLIST_COLUMNS.names).cast(PLAYLIST_COLUMNS))

    def _write_users(self, is_in_training: np.ndarray) -> None:
        names = self._features.user_columns
        users = by_row(self._clean.table("described_users"), "user_row", len(self._log.rows.users))
        write_arrow(self._folder / "users.arrow", users.combine_chunks())
        codes = np.zeros((len(users), len(names)), dtype=np.int32)
        for place, name in enumerate(names):
            encoded = users[name].combine_chunks().dictionary_encode()
            texts = [category_text(value) for value in encoded.dictionary.to_pylist()]
            at = encoded.indices.fill_null(-1).to_numpy()
            seen = [texts[number] for number in np.unique(at[is_in_training & (at >= 0)])]
            vocabulary = Vocabulary(text for text in seen if text is not None)
            vocabulary.write(self._vocabulary_path(name))
            codes[:, place] = np.append(vocabulary.encode(texts), [UNKNOWN])[at]
        np.save(self._folder / "user_codes.npy", codes)

    def _write_histories(self, folder: Path) -> Seen:
        durations = self._clean.table("durations")
        durations_ms = np.zeros(self._num_contents, dtype=np.int64)
        durations_ms[durations["content_row"].to_numpy()] = durations["duration_ms"].to_numpy()
        writer = HistoriesWriter(
            columns=self._log.columns,
            durations_ms=durations_ms,
            min_played_fraction=self._features.min_played_fraction,
            folder=folder,
            on_progress=self._on_progress,
        )
        writer.write()
        return writer.seen

    def _vocabulary_path(self, name: str) -> Path:
        return self._folder / "vocabularies" / f"{name}.parquet"


def by_row(table: pa.Table, name: str, rows: int) -> pa.Table:
    """Orders a table by its column of rows and drops that column; rows that it lacks are null in every column.

    Args:
        table: has each row at most once, and no null in the column of rows.
        name: name of the column of rows.
        rows: number of rows of the result.
    """
    place = np.full(rows, -1, dtype=np.int64)
    place[table[name].to_numpy()] = np.arange(len(table))
    return table.drop_columns(name).take(pa.array(place, mask=place < 0))
