"""The commands in Python, for a notebook.

    import towers.api

    towers.api.prepare("experiment=catalogue")
    towers.api.train("experiment=catalogue")
    towers.api.export("experiment=catalogue")
    towers.api.recommend(user="u00042")

    opened = towers.api.open("exports/current")  # opens one version for many calls
    opened.recommend(user=42, deny=["id1"], include_heard=True)
    opened.playlist("blend", users=[42, 43])

Overrides are those of the command line; ids may be given as integers. Functions that read an export do not import
torch.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from towers.config.composing import compose
from towers.config.overrides import quotation
from towers.contract import schema
from towers.policies.opened import Opened
from towers.policies.request import Kind
from towers.retrieval.asker import History, Id, Vector
from towers.retrieval.files import MANIFEST
from towers.retrieval.opened import Sound
from towers.retrieval.query import SKIP_COOLDOWN_DAYS

if TYPE_CHECKING:  # functions that read an export do not import torch
    from pytorch_lightning import LightningDataModule, LightningModule

CURRENT = "exports/current"


def prepare(*overrides: str) -> Path:
    """Turns raw data into a prepared store and returns its folder, as `towers prepare` does."""
    from towers.commands import prepare as command

    return command.prepare(compose("prepare", overrides)).folder


def profile(*overrides: str) -> dict[str, Any]:
    """Returns the profile of the prepared data and its `verdict`, as `towers profile` does."""
    from towers.commands import profile as command

    found, verdict = command.profiled(compose("profile", overrides))
    return {**found.to_json(), "verdict": verdict.to_json()}


def train(*overrides: str) -> Path:
    """Trains and returns the run's folder, as `towers train` does."""
    from towers.commands import train as command

    return command.run(compose("train", overrides))


def lightning(*overrides: str) -> "tuple[LightningModule, LightningDataModule]":
    """Returns the LightningModule and data module of `towers train`, for your own Trainer: one process, any device."""
    from towers.assembly.prepared import prepared_store
    from towers.assembly.training import modules_of, training_plan

    config = compose("train", overrides)
    return modules_of(training_plan(config, prepared_store(config).open()))


def evaluate(*overrides: str) -> dict[str, dict[str, float]]:
    """Returns means by ranker and metric, or for `compare=[A,B]` those of both and their `difference`.

    Works as `towers evaluate` does.
    """
    from towers.commands import evaluate as command
    from towers.evaluation.comparison import written
    from towers.manifest import read_json

    folder = command.run(compose("evaluate", overrides))
    if (folder / written.FILE).exists():
        return written.means(folder)
    return {name: figures["means"] for name, figures in read_json(folder / "metrics.json")["rankers"].items()}


def export(*overrides: str) -> Path:
    """Writes a version of an export and returns its folder, as `towers export` does."""
    from towers.commands import export as command

    return command.run(compose("export", overrides))


def fit(*overrides: str) -> Opened:
    """Prepares, trains and exports; returns the opened export."""
    prepare(*overrides)
    folder = train(*overrides)
    return open(export(*overrides, f"checkpoint={quotation(str(folder))}"))


def open(path: str | Path = CURRENT, check: bool = True) -> Opened:
    """Opens an export once, for many calls of `recommend`, `playlist`, `similar`, `withheld`, `embed`,
    `embed_content`.

    Args:
        path: folder of a version, or a link to one; the link is resolved once, here.
        check: whether every file is first verified against its checksum, which reads all files.

    Raises:
        UserError: there is no export, or it is damaged.
    """
    return Opened(path, check)


def embed(
    history: History | None = None, features: Mapping[str, Any] | None = None, export: str | Path = CURRENT
) -> Float[np.ndarray, " dim"]:
    """Returns the vector of a listener that the export does not have; see `Opened.embed`."""
    return _opened(export).embed(history, features)


def embed_content(
    audio: Sound | None = None, metadata: Mapping[str, Any] | None = None, export: str | Path = CURRENT
) -> Float[np.ndarray, " dim"]:
    """Returns the vector of a content that training has not seen; see `Opened.embed_content`."""
    return _opened(export).embed_content(audio, metadata)


def recommend(
    *,
    user: Id | None = None,
    history: History | None = None,
    features: Mapping[str, Any] | None = None,
    vector: Vector | None = None,
    k: int = 20,
    kind: str | Sequence[str] = schema.PLAYABLE_KINDS,
    among: Sequence[Id] | None = None,
    deny: Sequence[Id] = (),
    explicit: bool = True,
    include_heard: bool = False,
    familiar: int | float | None = None,
    released_by: date | str | None = None,
    skip_cooldown_days: int | float = SKIP_COOLDOWN_DAYS,
    export: str | Path = CURRENT,
) -> list[dict[str, Any]]:
    """Recommends contents to a listener of the export, to a new listener, or for a vector; see `Opened.recommend`."""
    return _opened(export).recommend(
        user=user, history=history, features=features, vector=vector, k=k, kind=kind, among=among, deny=deny,
        explicit=explicit, include_heard=include_heard, familiar=familiar, released_by=released_by,
        skip_cooldown_days=skip_cooldown_days,
    )  # fmt: skip


def playlist(
    playlist: str | Kind = "discover_weekly",
    *,
    user: Id | None = None,
    users: Sequence[Id] = (),
    history: History | None = None,
    features: Mapping[str, Any] | None = None,
    partners: Sequence[Id] = (),
    curators: Sequence[str] = (),
    left_out: Sequence[Id] = (),
    content: Id | None = None,
    contents: Sequence[Id] = (),
    minus: Sequence[Id] = (),
    to: Id | None = None,
    pool: str | Path | Mapping[str, Any] | None = None,
    today: date | str | None = None,
    week: str | None = None,
    lists: str | Path | None = None,
    k: int | None = None,
    kind: str | Sequence[str] | None = None,
    among: Sequence[Id] | None = None,
    deny: Sequence[Id] = (),
    explicit: bool | None = None,
    include_heard: bool | None = None,
    familiar: int | float | None = None,
    released_by: date | str | None = None,
    skip_cooldown_days: int | float | None = None,
    export: str | Path = CURRENT,
) -> dict[str, Any]:
    """Makes a list of any kind; see `Opened.playlist`."""
    return _opened(export).playlist(
        playlist, user=user, users=users, history=history, features=features, partners=partners, curators=curators,
        left_out=left_out, content=content, contents=contents, minus=minus, to=to, pool=pool, today=today, week=week,
        lists=lists, k=k, kind=kind, among=among, deny=deny, explicit=explicit, include_heard=include_heard,
        familiar=familiar, released_by=released_by, skip_cooldown_days=skip_cooldown_days,
    )  # fmt: skip


def similar(
    content: Id | None = None,
    *,
    audio: Sound | None = None,
    metadata: Mapping[str, Any] | None = None,
    k: int = 10,
    kind: str | Sequence[str] | None = None,
    explicit: bool = True,
    released_by: date | str | None = None,
    export: str | Path = CURRENT,
) -> list[dict[str, Any]]:
    """Returns the nearest contents of a content of any kind, known or new; see `Opened.similar`."""
    return _opened(export).similar(
        content, audio=audio, metadata=metadata, k=k, kind=kind, explicit=explicit, released_by=released_by
    )


def _opened(export: str | Path) -> Opened:
    """Returns the opened version in a folder; it is checked at first use, and opened again when its manifest
    changes."""
    folder = Path(export).resolve()
    manifest = folder / MANIFEST
    stat = manifest.stat() if manifest.exists() else None
    return _kept(folder, stat and (stat.st_ino, stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=2)
def _kept(folder: Path, manifest: tuple[int, ...] | None) -> Opened:
    return Opened(folder)
