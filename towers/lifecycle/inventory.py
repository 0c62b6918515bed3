"""Inventory of the folders of stores, runs, exports and evaluations: each item's kind, and what it was made from."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

from towers.data.refreshed import refreshed_fingerprint
from towers.data.store import CURRENT
from towers.errors import UserError
from towers.evaluation.saved import FACTS
from towers.lifecycle.ledger import ledgers
from towers.lifecycle.replaced import original_name
from towers.manifest import is_alive, read_json, writer_of
from towers.retrieval.files import MANIFEST
from towers.training.run_folder import ENVIRONMENT_FILE, FINISHED, LAST

Kind = Literal["evaluation", "baseline", "export", "run", "store", "spectrograms", "leftover"]
KINDS: tuple[Kind, ...] = ("leftover", "evaluation", "baseline", "export", "run", "store", "spectrograms")
"""Kinds in the order of their removal: an item that needs another is removed before it."""
KEPT = ("baselines", "twins")
"""Folders of single cached evaluations, below that of all evaluations, each with its store's name."""
REMOVED = ".removed"
"""Suffix of the name of an item whose removal was interrupted."""
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A file or folder that may be removed.

    Args:
        kind: kind of item.
        path: path of its folder or file.
        changed_s: time when it was last written, in seconds since 1970.
        needs: paths of items that it was made from, which stay where it stays; for an evaluation, a baseline or
            spectrograms the item that it belongs to, without which it goes.
        must_stay: reason why it stays regardless of age; null: age and number decide.
    """

    kind: Kind
    path: Path
    changed_s: float
    needs: frozenset[Path] = frozenset()
    must_stay: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Folders of the results, as `paths` names them.

    Args:
        stores: a folder for each data set, with a folder for each version.
        runs: a folder for each experiment, with a folder for each run.
        exports: a folder for each version.
        evaluations: evaluations of exports, comparisons, and cached baselines.
        nights: ledgers, a folder for each data set.
    """

    stores: Path
    runs: Path
    exports: Path
    evaluations: Path
    nights: Path

    def served(self) -> Path | None:
        """Returns the version that `current` points to, even if it is missing; null where there is no such link."""
        current = self.exports / CURRENT
        return current.resolve() if current.is_symlink() or current.exists() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a run was made with.

    Args:
        config: digest of its configuration, as exports of the run have it; null: it cannot be read.
        twin: run that it is judged by, trained on its own window; null: the run itself, or none.
    """

    config: str | None = None
    twin: Path | None = None


def inventory(
    folders: Folders, origin_of: Callable[[Path], Origin], is_held: Callable[[Path], bool], now_s: float
) -> list[Item]:
    """Lists everything that is recognisably this project's; other things are ignored, and links are not followed.

    Args:
        folders: folders to search.
        origin_of: returns what the run in a folder was made with.
        is_held: tells whether a process is training in a run's folder.
        now_s: present time, in seconds since 1970.

    Returns:
        Items in the order in which they may be removed.

    Raises:
        UserError: `exports/current` cannot be read, so that it is unknown what the served version was made from.
    """
    stores = [*_stores(folders.stores, now_s)]
    by_fingerprint: dict[Any, set[Path]] = {}
    for item in stores:
        by_fingerprint.setdefault(item.path.name, set()).add(item.path)
    origins = {path: origin_of(path) for path in _run_folders(folders.runs)}
    runs = [*_runs(origins, by_fingerprint, is_held)]
    made = _exports(folders.exports, folders.served(), by_fingerprint, runs, origins, _twins(folders))
    before = _before(folders)
    exports = [replace(item, must_stay=item.must_stay or before.get(item.path)) for item in made]
    sets = [*_spectrograms(folders.stores, stores, now_s)]
    judged = [*_evaluations(folders.evaluations, by_fingerprint, {item.path for item in exports})]
    everything = (folders.stores, folders.runs, folders.exports, folders.evaluations)
    left = {item.path: item for folder in everything for item in leftovers(folder, now_s)}
    found = [*left.values(), *judged, *exports, *runs, *stores, *sets]
    return sorted(found, key=lambda item: KINDS.index(item.kind))


def _stores(folder: Path, now_s: float) -> Iterator[Item]:
    for data_set in _folders(folder):
        current, written = (data_set / CURRENT).resolve(), _written_in(data_set, now_s)
        for path in _folders(data_set):
            if "fingerprint" in _facts(path / MANIFEST):
                why = "current, of its data set" if path.resolve() == current else written
                yield Item(kind="store", path=path, changed_s=_changed_s(path / MANIFEST), must_stay=why)


def _spectrograms(folder: Path, stores: list[Item], now_s: float) -> Iterator[Item]:
    """Yields sets of spectrograms, which stores share."""
    owners: dict[Path, set[Path]] = {}
    for item in stores:
        name = _facts(item.path / MANIFEST).get("spectrograms")
        owners.setdefault(item.path.parent / "spectrograms" / str(name), set()).add(item.path)
    for data_set in _folders(folder):
        written = _written_in(data_set, now_s)
        for path in _folders(data_set / "spectrograms"):
            if not path.name.startswith("parts-"):  # of a killed prepare, from which the next one continues
                needs = frozenset(owners.get(path, ()))
                yield Item(kind="spectrograms", path=path, changed_s=_changed_s(path), needs=needs, must_stay=written)


def _written_in(data_set: Path, now_s: float) -> str | None:
    """Returns why nothing of a data set may go: a store is being made; null where none is."""
    temporary = [path for path in data_set.iterdir() if writer_of(path.name) is not None]
    return "a store is being made beside it" if any(_is_written(path, now_s) for path in temporary) else None


def _runs(
    origins: Mapping[Path, Origin], stores: dict[Any, set[Path]], is_held: Callable[[Path], bool]
) -> Iterator[Item]:
    known = {path.resolve(): path for path in origins}
    for path, origin in origins.items():
        twin = set() if origin.twin is None else {known.get(origin.twin.resolve(), origin.twin)}
        needs = frozenset(twin | stores.get(_facts(path / ENVIRONMENT_FILE)["store"], set()))
        changed_s = max(_changed_s(each) for each in (path, path / FINISHED, path / LAST))
        why = "is being trained" if is_held(path) else None
        yield Item(kind="run", path=path, changed_s=changed_s, needs=needs, must_stay=why)


def _run_folders(folder: Path) -> Iterator[Path]:
    """Yields folders that name the store of a training, at any depth, as an experiment's name may have a slash.
    A config.yaml is no mark: folders of other programs have one, too."""
    for path in _folders(folder):
        if "store" in _facts(path / ENVIRONMENT_FILE):
            yield path
        else:
            yield from _run_folders(path)


def _exports(
    folder: Path,
    served: Path | None,
    stores: dict[Any, set[Path]],
    runs: list[Item],
    origins: Mapping[Path, Origin],
    twins: Mapping[str, frozenset[Path]],
) -> Iterator[Item]:
    current = folder / CURRENT
    if served is not None:
        read_json(served / MANIFEST)
    configs = {item: origins[item.path].config for item in runs}
    paths = [path for path in folder.glob("[!.]*") if path.is_dir() and not (path == current and path.is_symlink())]
    if served is not None and served not in [path.resolve() for path in paths]:
        paths.append(served)  # current leads out of the folder
    for path in sorted(paths):
        manifest = _facts(path / MANIFEST)
        if "space_id" not in manifest:
            continue
        why = "a link to elsewhere" if path.is_symlink() else None
        why = "serves (current)" if path.resolve() == served else why
        own, on = _made_of(stores, manifest.get("data_fingerprint"))
        known = [twins[name] for name in (path.name, original_name(path) or "") if name in twins]
        yield Item(
            kind="export",
            path=path,
            changed_s=_changed_s(path / MANIFEST),
            needs=frozenset({*own, *(known[0] if known else _trained(configs, manifest.get("config"), on))}),
            must_stay=why,
        )


def _twins(folders: Folders) -> dict[str, frozenset[Path]]:
    """Returns the runs of each version that the nights know: the judged one and the exported one."""
    known = [record for each in ledgers(folders.nights, folders.exports, folders.runs) for record in each.records()]
    return {
        record.version: frozenset(folders.runs / run for run in record.runs)
        for record in known
        if record.version is not None and record.runs
    }


def _before(folders: Folders) -> dict[Path, str]:
    """Returns, for each data set, the two versions that served before the champion, which a rollback may put back, with
    the reason why they stay."""
    known = ledgers(folders.nights, folders.exports, folders.runs)
    return {entry.export: "served before" for each in known for entry in each.retired()[:2] if entry.export is not None}


def _made_of(stores: Mapping[Any, set[Path]], fingerprint: str | None) -> tuple[set[Path], set[Path]]:
    """Returns the stores that an export was made from, and those of them that its network was trained on."""
    if fingerprint in stores:
        return stores[fingerprint], stores[fingerprint]
    for trained, today in product(stores, stores):
        if refreshed_fingerprint(trained, today) == fingerprint:
            return stores[trained] | stores[today], stores[trained]
    return set(), set()


def _trained(configs: Mapping[Item, str | None], config: str | None, stores: set[Path]) -> set[Path]:
    """Returns the runs that an export may be of: those with its configuration and store, or else with either."""
    same = {item for item, own in configs.items() if own is not None and own == config}
    on_store = {item for item in configs if item.needs & stores}
    return {item.path for item in (same & on_store or same or on_store)}


def _evaluations(folder: Path, stores: dict[Any, set[Path]], exports: set[Path]) -> Iterator[Item]:
    """Yields evaluations: those of exports go with the export; comparisons, baselines and those of twins with the store
    that they were made on."""
    versions = {path.name: path for path in exports}
    for path in _folders(folder):
        if path.name in KEPT:
            for kept in _folders(path):
                store = _facts(kept / FACTS).get("store")
                needs = frozenset(stores.get(store, ()))
                yield Item(kind="baseline", path=kept, changed_s=_changed_s(kept), needs=needs)
            continue
        written = [*path.glob("comparison.json"), *path.glob("evaluation-*/metrics.json")]
        if not written:
            continue
        made_on = {_facts(file).get("metadata", {}).get("store") for file in written}
        needs = {store for name in made_on for store in stores.get(name, ())}
        if path.name in versions:
            needs = {versions[path.name]}
        latest = max(map(_changed_s, written))
        yield Item(kind="evaluation", path=path, changed_s=latest, needs=frozenset(needs))


def leftovers(folder: Path, now_s: float) -> Iterator[Item]:
    """Yields what killed processes have left: half-written things that are a day old, and half-removed ones."""
    for parent, names, files in os.walk(folder):
        for name in [*names, *files]:
            path = Path(parent, name)
            is_half_removed = name.startswith(".") and name.endswith(REMOVED)
            if is_half_removed or (writer_of(name) is not None and not _is_written(path, now_s)):
                yield Item(kind="leftover", path=path, changed_s=latest_s(path))
        names[:] = [name for name in names if writer_of(name) is None and not name.endswith(REMOVED)]


def _is_written(path: Path, now_s: float) -> bool:
    """Returns whether a temporary file or folder is younger than a day, or its process runs on this machine.

    Other machines may write to the same disk, so a missing process alone proves nothing.
    """
    writer = writer_of(path.name)
    return now_s - latest_s(path) < DAY_S or (writer is not None and is_alive(writer))


def latest_s(path: Path) -> float:
    """Returns when a file, or anything in a folder, was last written, in seconds since 1970."""
    below = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    return max(map(_changed_s, [path, *below]))


def _folders(folder: Path) -> list[Path]:
    """Returns the folders in a folder, without hidden ones and links."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name[0] != "." and path.is_dir() and not path.is_symlink())


def _facts(path: Path) -> dict[str, Any]:
    """Reads a JSON file; empty where there is none that can be read."""
    try:
        found = read_json(path)
    except (UserError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def _changed_s(path: Path) -> float:
    """Returns when a file was last written, in seconds since 1970; 0 where there is none (any more)."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
