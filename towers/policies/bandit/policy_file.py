"""A policy on disk: a folder of versions, each complete, and a link to the current one.

```
policies/NAME/000001/policy.json   format, class, settings, space, number of the update, what it learned from, digests
policies/NAME/000001/state.npz     its arrays
policies/NAME/000001/cards.json    ids of the cards by the number that the state knows them by
policies/NAME/served.json          versions that have been current, in that order
policies/NAME/current -> 000001    swapped last
```
A version is written beside the others and renamed when it is complete, so a kill leaves either the earlier state or the
new one. Nothing is pickled. Rolling back points `current` to an earlier version; the next update continues from there.
"""

import importlib
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol, cast, runtime_checkable

import numpy as np

from towers.contract.policy import Policy
from towers.errors import UserError
from towers.manifest import (
    alone,
    atomic_directory,
    atomic_file,
    digest_of,
    digest_of_file,
    point_to,
    read_json,
    write_json,
)

FORMAT: Final = 1
CURRENT, ABOUT, STATE, CARDS, SERVED = "current", "policy.json", "state.npz", "cards.json", "served.json"
ROOM: Final = "towers.policies.bandit."
"""Prefix of the classes that a policy file may name; other classes are refused."""
NEEDED: Final = {
    "policy_id": str, "space_id": str, "update": int, "written": str, "learned_from": dict, "files": dict,
}  # fmt: skip
_DAMAGED = "the policy is damaged; copy it again, or point `current` to another version"


@runtime_checkable
class WritablePolicy(Policy, Protocol):
    """A policy that can be built again from a file."""

    def settings(self) -> dict[str, Any]:
        """Returns the constructor's keyword arguments as JSON values; a policy in them is a mapping with `_target_`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    """An opened version of a policy.

    Args:
        folder: folder of the version.
        policy: the policy with its state.
        space_id: id of the space of the vectors that it chooses by.
        update: number of updates it has learned from, 0 for none.
        written: time at which it was written, UTC.
        learned_from: what its last update read, as given by its writer.
        card_ids: content ids by the number that the state gives each card.
    """

    folder: Path
    policy: WritablePolicy
    space_id: str
    update: int
    written: datetime
    learned_from: Mapping[str, Any]
    card_ids: tuple[str, ...]

    @property
    def version(self) -> str:
        """Name of the version."""
        return self.folder.name

    @property
    def logged_as(self) -> str:
        """The `Impression.policy_id`: the policy and the version, as each version chooses differently."""
        return f"{self.policy.policy_id}@{self.version}"


def described(policy: WritablePolicy) -> dict[str, Any]:
    """Returns class and settings of a policy, from which `built` makes the same policy without its state.

    >>> from towers.policies.bandit.uniform import Uniform
    >>> described(Uniform(slots=3))
    {'_target_': 'towers.policies.bandit.uniform.Uniform', 'slots': 3, 'shelf': 'home', 'policy_id': 'uniform'}
    """
    return {"_target_": f"{type(policy).__module__}.{type(policy).__qualname__}", **policy.settings()}


def built(description: Mapping[str, Any], where: str) -> Any:
    """Builds what `described` returned; mappings with `_target_` in the keyword arguments are built first.

    Args:
        description: class and keyword arguments.
        where: start of error messages.

    Raises:
        UserError: the class is outside `ROOM`, or does not accept the keyword arguments.
    """
    target = description.get("_target_")
    keywords = {name: _inner(value, where) for name, value in description.items() if name != "_target_"}
    try:
        return _class_of(target, where)(**keywords)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {target} cannot be built with these settings ({_one_line(error)})") from None


def write_policy(
    folder: Path,
    policy: WritablePolicy,
    *,
    space_id: str,
    update: int,
    learned_from: Mapping[str, Any],
    card_ids: Sequence[str] = (),
    keep: int = 5,
    becomes_current: bool = True,
) -> Path:
    """Writes a new version of a policy, makes it the current one, and removes the oldest.

    Args:
        folder: folder of the policy, with all its versions.
        policy: policy whose state is written.
        space_id: id of the space of the vectors that it chooses by.
        update: number of updates it has learned from.
        learned_from: what its last update read, as JSON values.
        card_ids: content ids by the number that the state gives each card.
        keep: number of versions to keep, at least 1; the current one is always kept.
        becomes_current: whether `current` is pointed to the new version.

    Returns:
        Folder of the version.

    Raises:
        UserError: another process is writing a version of the same policy, or the disk is full.
    """
    if keep < 1:
        raise ValueError(f"keep={keep}: must be at least 1")
    folder.mkdir(parents=True, exist_ok=True)

    def waiting() -> None:
        raise UserError(f"{folder}: another process writes a version of this policy; wait for it")

    with alone(folder / ".writing", waiting):
        numbers = [int(path.name) for path in versions_of(folder)]
        target = folder / f"{max(numbers, default=0) + 1:06d}"
        with atomic_directory(target) as temporary:
            with atomic_file(temporary / STATE) as path, path.open("wb") as file:
                np.savez(file, **cast(Any, _plain(policy.state())))
            write_json(temporary / CARDS, {"content_ids": list(card_ids)})
            about = {
                "format": FORMAT,
                "policy": described(policy),
                "policy_id": policy.policy_id,
                "space_id": space_id,
                "update": update,
                "written": datetime.now(UTC).isoformat(),
                "learned_from": dict(learned_from),
                "files": {name: digest_of_file(temporary / name) for name in (STATE, CARDS)},
            }
            write_json(temporary / ABOUT, {**about, "digest": digest_of(about)})
        if becomes_current:
            _lead_to(folder, target)
        _prune(folder, keep)
    return target


def versions_of(folder: Path) -> list[Path]:
    """Returns the folders of all complete versions of a policy, oldest first."""
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir() and (path / ABOUT).exists())


def open_policy(folder: Path, space_id: str | None = None) -> PolicyVersion:
    """Opens a version of a policy.

    Args:
        folder: folder of a policy, whose current version is opened, or of one version.
        space_id: id of the space of the vectors that it is to choose by; null: any.

    Raises:
        UserError: there is no policy, a file is damaged, the format is newer, the class is not one of these policies,
            or the policy is of another space.
    """
    version = version_folder(folder)
    about = read_json(version / ABOUT)
    where = str(version)
    _check(about, version)
    if space_id is not None and about["space_id"] != space_id:
        raise UserError(
            f"{where}: the policy chooses by space {about['space_id']}, but these vectors are of {space_id}; "
            "train one in this space"
        )
    policy = built(about["policy"], where)
    if not isinstance(policy, WritablePolicy):
        raise UserError(f"{where}: {about['policy']['_target_']} is no policy")
    try:
        with np.load(version / STATE, allow_pickle=False) as arrays:
            policy.restore({name: arrays[name] for name in arrays.files})
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{where}: the state does not fit its policy ({_one_line(error)})") from None
    return PolicyVersion(
        folder=version,
        policy=policy,
        space_id=about["space_id"],
        update=about["update"],
        written=datetime.fromisoformat(about["written"]),
        learned_from=about["learned_from"],
        card_ids=tuple(read_json(version / CARDS)["content_ids"]),
    )


def version_folder(folder: Path) -> Path:
    """Returns the folder of a version: the given one, or the one that its `current` points to.

    Raises:
        UserError: there is no policy.
    """
    for found in (folder, folder / CURRENT):
        if (found / ABOUT).exists():
            return found.resolve()
    raise UserError(f"{folder}: no policy here; write one with `towers home action=train`")


def serve_version(folder: Path, version: str) -> Path:
    """Points `current` to a version, after opening it as a check.

    Args:
        folder: folder of the policy.
        version: name of the version.

    Returns:
        Folder of the version that is now current.

    Raises:
        UserError: there is no such version, or it is damaged.
    """
    names = [path.name for path in versions_of(folder)]
    if version not in names:
        raise UserError(f"{folder}: no version {version}; there are {', '.join(names) or 'none'}")
    target = folder / version
    open_policy(target)
    _lead_to(folder, target)
    return target


def roll_back(folder: Path, version: str | None = None) -> Path:
    """Points `current` to an earlier version, after opening it as a check.

    Args:
        folder: folder of the policy.
        version: name of the version; null: the latest before the current one that has served.

    Returns:
        Folder of the version that is now current.

    Raises:
        UserError: there is no such version, no earlier one, or it is damaged.
    """
    if version is None:
        now, served = version_folder(folder).name, _served(folder)
        before = [path.name for path in versions_of(folder) if path.name < now and path.name in served]
        if not before:
            raise UserError(f"{folder}: no version before {now} that has served is kept")
        version = before[-1]
    return serve_version(folder, version)


def _lead_to(folder: Path, target: Path) -> None:
    """Records that a version serves, then points `current` to it."""
    served = [name for name in _served(folder) if name != target.name and (folder / name).is_dir()]
    write_json(folder / SERVED, {"versions": [*served, target.name]})
    point_to(folder / CURRENT, target)


def _served(folder: Path) -> list[str]:
    """Returns the names of the versions that have served, in that order."""
    path = folder / SERVED
    return list(read_json(path).get("versions", [])) if path.exists() else []


def _plain(state: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Returns the state; raises `ValueError` for an array that could only be written as a pickle."""
    for name, array in state.items():
        if array.dtype.hasobject:
            raise ValueError(f"{name}: an array of objects is no state")
    return state


def _class_of(target: Any, where: str) -> type:
    own = filter(None, os.environ.get("TOWERS_ALLOW_TARGETS", "").split(","))
    if not isinstance(target, str) or not target.startswith((ROOM, *own)):
        raise UserError(
            f"{where}: {target!r} is no class of {ROOM}*, so it is not built; name its package in the environment "
            "variable TOWERS_ALLOW_TARGETS to allow it"
        )
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        raise UserError(f"{where}: no class {target} in this Towers; it was written by another one") from None
    if not isinstance(found, type):
        raise UserError(f"{where}: {target} is no class")
    return found


def _inner(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return built(value, where) if "_target_" in value else {key: _inner(one, where) for key, one in value.items()}
    return [_inner(one, where) for one in value] if isinstance(value, list) else value


def _check(about: Mapping[str, Any], version: Path) -> None:
    """Raises `UserError` for a file that is incomplete, changed, or of another format."""
    if about.get("format") != FORMAT:
        raise UserError(f"{version}: is a policy of format {about.get('format')}; this Towers reads format {FORMAT}")
    told = {name: value for name, value in about.items() if name != "digest"}
    if about.get("digest") != digest_of(told):
        raise UserError(f"{version / ABOUT}: changed since it was written; {_DAMAGED}")
    for name, kind in NEEDED.items():
        if not isinstance(about.get(name), kind):
            raise UserError(f"{version / ABOUT}: no {name}; {_DAMAGED}")
    for name in (STATE, CARDS):
        path = version / name
        if not path.exists():
            raise UserError(f"{path}: missing; {_DAMAGED}")
        if digest_of_file(path) != about["files"].get(name):
            raise UserError(f"{path}: changed since it was written; {_DAMAGED}")


def _prune(folder: Path, keep: int) -> None:
    """Removes the oldest versions beyond `keep`, except the current one."""
    there = versions_of(folder)
    current = (folder / CURRENT).resolve()
    for path in there[: max(len(there) - keep, 0)]:
        if path.resolve() != current:
            shutil.rmtree(path)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
