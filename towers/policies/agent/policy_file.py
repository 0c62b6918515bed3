"""An agent's policy on disk, with or without the contents that it chooses from.

```
policy.json    format, space, settings of the policy, ids of the contents, digests of the other files
policy.npz     weights, those of the probability of a stream, and what a stream of each content is worth later
contents.npz   the contents, in a policy written for serving; without this file the reader is given the contents
```
Nothing is pickled.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int

from towers.errors import UserError
from towers.manifest import atomic_file, digest_of, digest_of_file, read_json, write_json
from towers.policies.agent.features import CONTEXT, FEATURES, Contents
from towers.policies.agent.policy import AgentPolicy, Chance
from towers.policies.agent.slates import Penalties

FORMAT: Final = 1
ABOUT, ARRAYS, CONTENTS = "policy.json", "policy.npz", "contents.npz"
_OF_CONTENTS: Final = ("vectors", "region", "artist", "plays", "released_us")
_DAMAGED: Final = "the policy is damaged; write it again"


@dataclass(frozen=True, kw_only=True)
class KeptContents:
    """Contents as stored in a policy's folder; see `features.Contents`."""

    vectors: Float[np.ndarray, "contents dim"]
    region: Int[np.ndarray, " contents"]
    region_names: tuple[str, ...]
    artist: Int[np.ndarray, " contents"]
    plays: Float[np.ndarray, " contents"]
    released_us: Int[np.ndarray, " contents"]


@dataclass(frozen=True, kw_only=True)
class AgentFile:
    """A policy that was read from its folder.

    Args:
        policy: the policy with its contents.
        space_id: id of the space that the contents' vectors are in.
        content_ids: raw ids, by row of the contents.
    """

    policy: AgentPolicy
    space_id: str
    content_ids: tuple[str, ...]


def write_agent(
    folder: Path, policy: AgentPolicy, *, space_id: str, content_ids: Sequence[str], has_contents: bool = False
) -> None:
    """Writes a policy into an existing folder.

    Args:
        folder: folder of this policy alone.
        policy: policy to write.
        space_id: id of the space that the contents' vectors are in.
        content_ids: raw ids, by row of the contents.
        has_contents: whether to write the contents too.
    """
    arrays: dict[str, Any] = {"weights": policy.weights}
    if policy.chance is not None:
        arrays |= {"chance": policy.chance.weights, "chance_of_context": policy.chance.of_context}
    if policy.long_term is not None:
        arrays["long_term"] = policy.long_term
    _save(folder / ARRAYS, arrays)
    names = [ARRAYS]
    if has_contents:
        _save(folder / CONTENTS, {name: getattr(policy.contents, name) for name in _OF_CONTENTS})
        names.append(CONTENTS)
    about = {
        "format": FORMAT, "space_id": space_id, "features": FEATURES, "context": CONTEXT, "slots": policy.slots,
        "temperature": policy.temperature, "recovery_hours": policy.recovery_hours,
        "penalties": {"artist": policy.penalties.artist, "region": policy.penalties.region},
        "region_names": list(policy.contents.region_names), "content_ids": list(content_ids),
        "files": {name: digest_of_file(folder / name) for name in names},
    }  # fmt: skip
    write_json(folder / ABOUT, {**about, "digest": digest_of(about)})


def read_agent(folder: Path, contents: Contents | None = None, content_ids: Sequence[str] | None = None) -> AgentFile:
    """Reads a policy.

    Args:
        folder: folder written by `write_agent`.
        contents: contents to choose from; null: those stored with the policy.
        content_ids: raw ids of `contents`, which must equal those that the policy was written with.

    Raises:
        UserError: there is no policy, it has another format, a file is damaged, or the contents differ.
    """
    about = read_json(folder / ABOUT)
    if about.get("format") != FORMAT:
        raise UserError(f"{folder}: is a policy of format {about.get('format')}; this Towers reads format {FORMAT}")
    if about.get("digest") != digest_of({name: value for name, value in about.items() if name != "digest"}):
        raise UserError(f"{folder / ABOUT}: changed since it was written; {_DAMAGED}")
    if [*about["features"]] != [*FEATURES] or [*about["context"]] != [*CONTEXT]:
        raise UserError(f"{folder}: written by a version of Towers whose agents read other features; train it again")
    for name, digest in about["files"].items():
        if not (folder / name).exists() or digest_of_file(folder / name) != digest:
            raise UserError(f"{folder / name}: missing, or changed since it was written; {_DAMAGED}")
    ids = tuple(about["content_ids"])
    if contents is None:
        if CONTENTS not in about["files"]:
            raise UserError(f"{folder}: has no contents of its own; `towers agent action=export` writes them")
        contents = KeptContents(region_names=tuple(about["region_names"]), **_load(folder / CONTENTS))
    elif content_ids is not None and tuple(content_ids) != ids:
        raise UserError(f"{folder}: the policy chooses from other contents than these; train an agent on them")
    arrays = _load(folder / ARRAYS)
    chance = None
    if "chance" in arrays:
        chance = Chance(weights=arrays["chance"], of_context=arrays["chance_of_context"])
    policy = AgentPolicy(
        contents=contents, weights=arrays["weights"], penalties=Penalties(**about["penalties"]), chance=chance,
        long_term=arrays.get("long_term"), recovery_hours=about["recovery_hours"], temperature=about["temperature"],
        slots=about["slots"],
    )  # fmt: skip
    return AgentFile(policy=policy, space_id=about["space_id"], content_ids=ids)


def _save(path: Path, arrays: Mapping[str, Any]) -> None:
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **dict(arrays))


def _load(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())}); {_DAMAGED}") from None
