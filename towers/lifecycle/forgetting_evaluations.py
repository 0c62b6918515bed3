"""Finds and removes listeners in evaluations, comparisons, baselines and lists."""

import html
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from towers.errors import UserError
from towers.evaluation.comparison.written import FILE
from towers.evaluation.saved import ARRAYS, FACTS
from towers.lifecycle.forgetting_rows import count_in, drop_rows, rows_named
from towers.manifest import read_json, write_json

METRICS, PAGE, PROFILES = "metrics.json", "report.html", "profiles.parquet"
TEXTS = (".log", ".txt", ".json", ".jsonl", ".yaml", ".csv", ".html", ".md")
LARGE = 100_000_000
"""Size in bytes from which on a text is not read."""
PERIODS = ("evaluation-validation", "evaluation-test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What an evaluation's folder holds of some listeners.

    Args:
        folder: the evaluation's folder.
        rows: the listeners' rows in the store that it was made on.
        tables: Parquet files with rows about them; the one that gives their rows comes last.
        has_page: whether the page shows one of them.
    """

    folder: Path
    rows: frozenset[int]
    tables: tuple[Path, ...]
    has_page: bool

    @property
    def told(self) -> str:
        """Description of what it holds of the listeners; empty where it holds nothing."""
        return ", ".join([*(path.name for path in self.tables), *([PAGE] if self.has_page else [])])


def evaluations_in(folder: Path) -> Iterator[Path]:
    """Yields the folders of evaluations below a folder, in order."""
    return (path for path in sorted(folder.rglob("evaluation-*")) if path.name in PERIODS and path.is_dir())


def judged(folder: Path, user_ids: Sequence[str], rows: Mapping[str, Collection[int]]) -> Judged:
    """Looks for some listeners in an evaluation.

    Args:
        folder: the evaluation's folder.
        user_ids: ids of the listeners.
        rows: their rows, by the fingerprint of the store that an evaluation was made on.

    Raises:
        UserError: a table cannot be read.
    """
    profiles = folder / PROFILES
    theirs = rows_named(profiles, user_ids) if profiles.exists() else set()
    if (folder / METRICS).exists():
        theirs |= {*rows.get(read_json(folder / METRICS).get("metadata", {}).get("store", ""), ())}
    tables = (path for path in sorted(folder.glob("*.parquet")) if count_in(path, user_ids, theirs))
    page = folder / PAGE
    return Judged(
        folder=folder,
        rows=frozenset(theirs),
        tables=tuple(sorted(tables, key=lambda path: path == profiles)),
        has_page=page.exists() and names(page, user_ids),
    )


def clear_evaluation(found: Judged, user_ids: Sequence[str]) -> None:
    """Removes some listeners from an evaluation: their rows, and the page if it shows one of them.

    Means over all listeners stay. A page that was removed is made again by the next `towers evaluate`.
    """
    if found.has_page:
        metrics = found.folder / METRICS
        if metrics.exists():
            facts = read_json(metrics)
            write_json(metrics, {**facts, "metadata": {**facts.get("metadata", {}), "fingerprint": None}})
        (found.folder / PAGE).unlink()
    for path in found.tables:
        drop_rows(path, user_ids, found.rows)


def comparisons_with(folder: Path, user_ids: Sequence[str]) -> Iterator[Path]:
    """Finds the folders of comparisons that include one of some listeners."""
    for path in sorted(folder.glob("[!.]*/listeners.parquet")):
        if count_in(path, user_ids):
            yield path.parent
    for path in sorted(folder.glob(f"[!.]*/{FILE}")):
        if not (path.parent / "listeners.parquet").exists() and names(path, user_ids):
            yield path.parent


def baselines_with(folder: Path, rows: Mapping[str, Collection[int]]) -> Iterator[Path]:
    """Finds the folders of kept baselines with figures of some listeners.

    Args:
        folder: where all baselines are.
        rows: the listeners' rows, by the fingerprint of the store that a baseline was computed on.
    """
    for path in sorted(folder.glob(f"[!.]*/{FACTS}")):
        theirs = rows.get(read_json(path).get("store") or "", ())
        if theirs and (path.parent / ARRAYS).exists() and np.isin(_user_rows(path.parent / ARRAYS), [*theirs]).any():
            yield path.parent


def lists_with(folder: Path, user_ids: Sequence[str]) -> Iterator[Path]:
    """Finds Parquet files with rows about some listeners: all below a folder, or a single file."""
    paths = [folder] if folder.is_file() else sorted(folder.rglob("*.parquet"))
    return (path for path in paths if count_in(path, user_ids))


def mentions(folders: Iterable[Path], user_ids: Sequence[str]) -> Iterator[Path]:
    """Finds text files below some folders, such as logs, that contain one of some ids as a word, in any meaning.

    Ids that are numbers are not searched for, since numbers are in every text.
    """
    words = [one for one in user_ids if not one.isdecimal()]
    if words:
        paths = (path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix.lower() in TEXTS)
        yield from (path for path in paths if path.is_file() and path.stat().st_size < LARGE and names(path, words))


def names(path: Path, user_ids: Sequence[str]) -> bool:
    """Returns whether a text contains one of some ids as a whole word."""
    written = sorted({form for one in user_ids for form in (one, html.escape(one))})
    return (
        re.search(rf"(?<!\w)(?:{'|'.join(map(re.escape, written))})(?!\w)", path.read_text(errors="replace"))
        is not None
    )


def _user_rows(path: Path) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["user_rows"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove {path.parent}") from error
