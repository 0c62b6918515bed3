"""Applies a split to written histories: writes the ends of the periods, and counts what training may know."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from towers.contract import schema
from towers.data.array_files import ArrayFiles, ArrayReader
from towers.data.blocks import BLOCK_EVENTS, blocks
from towers.data.histories import HISTORY_COLUMNS, PLACES
from towers.data.periods import NAMES
from towers.data.splits.split import Cuts, ListenersEvents, Split
from towers.features.vocabulary import Vocabulary

ENDS = [name for name in PLACES if name != "offsets"]


def write_ends(folder: Path, split: Split, cuts: Cuts) -> None:
    """Writes where each listener's periods begin and end.

    Args:
        folder: histories whose columns are written.
        split: the rule that divides events into periods.
        cuts: the instants that it has returned.
    """
    offsets = np.load(folder / "offsets.npy")
    columns = {name: ArrayReader(folder / f"{name}.npy") for name in ("timestamp_us", "is_positive", "session")}
    with ArrayFiles(folder, {name: np.int64 for name in ENDS}, len(offsets) - 1) as files:
        for block in blocks(offsets):
            begins = offsets[block.users]
            events = ListenersEvents(
                offsets=np.append(begins, block.events.stop) - block.events.start,
                **{name: column[block.events] for name, column in columns.items()},
            )
            ends = split.ends(events, cuts)
            files.append({name: getattr(ends, name) + begins for name in ENDS})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCounts:
    """Counts of the training period, and sizes of all periods.

    Args:
        positives: `[contents]`: positive events in training.
        plays: `[contents]`: plays in training.
        events: `[contents]`: events in training.
        codes: `[codes]` for each column of `EVENT_VOCABULARIES`: whether training has the log's code.
        periods: number of positive events and of listeners with one, by period.
        total_positives: positive events in all periods and gaps.
    """

    positives: Int[np.ndarray, " contents"]
    plays: Int[np.ndarray, " contents"]
    events: Int[np.ndarray, " contents"]
    codes: dict[str, Bool[np.ndarray, " codes"]]
    periods: dict[str, tuple[int, int]]
    total_positives: int


def count_training(folder: Path, num_contents: int, num_codes: dict[str, int]) -> TrainingCounts:
    """Counts what training and each period hold, in one pass over the histories.

    Args:
        folder: histories whose columns and ends are written.
        num_contents: number of content rows.
        num_codes: number of codes in the log, by column of `EVENT_VOCABULARIES`.
    """
    offsets = np.load(folder / "offsets.npy")
    ends = {name: np.load(folder / f"{name}.npy") for name in ENDS}
    names = ("content_row", "action", "is_positive", *schema.EVENT_VOCABULARIES)
    columns = {name: ArrayReader(folder / f"{name}.npy") for name in names}
    counted = np.zeros(4 * num_contents, dtype=np.int64)  # four for each content: positive or not, play or not
    codes = {name: np.zeros(number + 1, dtype=bool) for name, number in num_codes.items()}
    positives: Counter[str] = Counter()
    listeners: Counter[str] = Counter()
    total = 0
    for block in blocks(offsets):
        found = {name: column[block.events] for name, column in columns.items()}
        place = np.arange(block.events.start, block.events.stop)
        users = block.user_of_event
        row, is_positive = found["content_row"], found["is_positive"]
        in_period = {
            "training": place < ends["train_end"][block.users][users],
            "validation": (place >= ends["validation_start"][block.users][users])
            & (place < ends["validation_end"][block.users][users]),
            "test": place >= ends["test_start"][block.users][users],
        }
        total += int(is_positive.sum())
        for name, is_in in in_period.items():
            whose = users[is_in & is_positive]
            positives[name] += len(whose)
            listeners[name] += int((np.diff(whose, prepend=-1) != 0).sum())
        train = in_period["training"]
        named = np.flatnonzero(train & (row >= 0))
        what = is_positive[named] + 2 * (found["action"][named] == schema.PLAY)
        np.add.at(counted, row[named].astype(np.int64) * 4 + what, 1)
        for name, met in codes.items():
            met[found[name][train]] = True  # unknown, -1, is the last
    of_content = counted.reshape(num_contents, 4)
    return TrainingCounts(
        positives=of_content[:, [1, 3]].sum(axis=1),
        plays=of_content[:, [2, 3]].sum(axis=1),
        events=of_content.sum(axis=1),
        codes={name: met[:-1] for name, met in codes.items()},
        periods={name: (positives[name], listeners[name]) for name in NAMES},
        total_positives=total,
    )


def write_codes(folder: Path, name: str, vocabulary: Vocabulary, texts: list[str | None]) -> None:
    """Replaces a column's codes of the log by those of the training period's vocabulary.

    Args:
        folder: folder of the histories.
        name: name of the column.
        vocabulary: the values that the training period has.
        texts: the value of each code of the log.
    """
    code_of = np.append(vocabulary.encode(texts), [0]).astype(HISTORY_COLUMNS[name])  # unknown, -1, is the last
    column = ArrayReader(folder / f"{name}.npy")
    partial = folder / "partial"
    partial.mkdir()
    with ArrayFiles(partial, {name: HISTORY_COLUMNS[name]}, len(column)) as file:
        for first in range(0, len(column), BLOCK_EVENTS):
            stretch = column[first : min(first + BLOCK_EVENTS, len(column))]
            file.append({name: code_of[stretch]})
    (partial / f"{name}.npy").replace(folder / f"{name}.npy")
    partial.rmdir()
