"""The file `profile.json` of a version of a store: its profile and the verdict, written once and read later."""

import time
from pathlib import Path

from towers.data.profiling.comparing import judged
from towers.data.profiling.computing import profile_of
from towers.data.profiling.profile import FORMAT, Profile
from towers.data.profiling.thresholds import Thresholds
from towers.data.profiling.verdict import Verdict
from towers.data.store import CURRENT, Store
from towers.errors import UserError
from towers.manifest import read_json, write_json

FILE = "profile.json"


def write_profile(
    store: Store, before: Path | None = None, thresholds: Thresholds | None = None, now_us: int | None = None
) -> tuple[Profile, Verdict]:
    """Writes `profile.json` into a version's folder unless it is there; returns the profile and the verdict.

    Args:
        store: the version.
        before: folder of the version to compare with; null: the newest other version beside it.
        thresholds: limits above which a difference is reported; null: the defaults.
        now_us: the present time, in microseconds since 1970, UTC; null: the clock's.
    """
    path = store.folder / FILE
    if (written := _written(path)) is not None:
        return written
    if before is None or before.resolve() == store.folder.resolve():
        before = newest_other(store.folder)
    profile = profile_of(store)
    old = None if before is None else _profile_before(before)
    verdict = judged(old, profile, thresholds or Thresholds(), time.time_ns() // 1000 if now_us is None else now_us)
    write_json(path, {**profile.to_json(), "verdict": verdict.to_json()})
    return profile, verdict


def profile_at(path: Path) -> Profile:
    """Reads the profile in a file or in a version's folder; computes it where the folder has none.

    Raises:
        UserError: there is neither a profile nor a store.
    """
    if not path.is_dir():
        return Profile.from_json(read_json(path), str(path))
    written = _written(path / FILE)
    return profile_of(Store(path)) if written is None else written[0]


def _written(path: Path) -> tuple[Profile, Verdict] | None:
    """Reads the file in a version's folder; null where there is none, another release wrote it, or it is damaged."""
    try:
        found = read_json(path) if path.exists() else {}
        if found.get("format") != FORMAT:
            return None
        return Profile.from_json(found, str(path)), Verdict.from_json(found["verdict"], str(path))
    except (UserError, KeyError):
        return None


def _profile_before(folder: Path) -> Profile | None:
    """Reads the profile of the version before; null where that is no longer possible."""
    try:
        return profile_at(folder)
    except (UserError, OSError, KeyError):
        return None


def verdict_at(path: Path) -> Verdict:
    """Reads the verdict from the `profile.json` of a version, for jobs that decide whether to use the data.

    Raises:
        UserError: there is none.
    """
    found = read_json(path / FILE if path.is_dir() else path)
    if "verdict" not in found:
        raise UserError(f"{path}: has no verdict; `towers prepare` writes it")
    return Verdict.from_json(found["verdict"], str(path))


def verdict_beside(path: Path, before: Path, thresholds: Thresholds, now_us: int | None = None) -> Verdict:
    """The verdict on a version, compared with another than the one that was prepared last: with what serves, for a
    night. What came in between may itself have been broken: beside that, more of the same would be nothing new.

    Args:
        path: the version's folder.
        before: folder of the version to compare with.
        thresholds: limits above which a difference is reported.
        now_us: the present time, in microseconds since 1970, UTC; null: the clock's.

    Raises:
        UserError: one of them is no store.
    """
    return judged(
        profile_at(before), profile_at(path), thresholds, time.time_ns() // 1000 if now_us is None else now_us
    )


def newest_other(folder: Path) -> Path | None:
    """Finds the version that was written last before another one beside it; null where there is none."""
    folder = folder.resolve()
    written = {
        manifest.parent: manifest.stat().st_mtime_ns
        for manifest in folder.parent.glob("*/manifest.json")
        if manifest.parent.name != CURRENT and not manifest.parent.name.startswith(".")
    }
    own = written.pop(folder, None)
    earlier = [path for path, at in written.items() if own is None or at <= own]
    return max(earlier, key=lambda path: written[path], default=None)


def located(given: str, root: Path) -> Path:
    """Finds what a caller names: a version by its folder or fingerprint, the current version by the folder of all
    versions, or a `profile.json`.

    Args:
        given: the folder, fingerprint or file.
        root: folder of the data set's versions.

    Raises:
        UserError: there is none of these; names the versions that are there.
    """
    for path in (Path(given), root / given):
        if path.is_file() or (path / "manifest.json").is_file() or (path / FILE).is_file():
            return path
        if (path / CURRENT / "manifest.json").is_file():
            return (path / CURRENT).resolve()
    there = sorted(path.parent.name for path in root.glob("*/manifest.json") if path.parent.name != CURRENT)
    shown = f"{root} has {', '.join(there[:5])}" if there else f"{root} has none"
    raise UserError(f"{given}: neither a store's folder nor a fingerprint nor a {FILE}; {shown}")
