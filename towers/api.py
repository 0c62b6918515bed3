"""The commands in Python, for a notebook.

    from towers.api import embed, export, prepare, recommend, train

    prepare("experiment=catalogue")
    train("experiment=catalogue")
    export("experiment=catalogue")
    recommend(user="u00042")

Overrides are those of the command line; ids may be given as integers. What reads an export imports no torch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from towers.config import compose
from towers.errors import UserError
from towers.retrieval.export import Export, Found
from towers.retrieval.raw_contents import encode_content
from towers.retrieval.show import described

if TYPE_CHECKING:  # what reads an export imports no torch
    from pytorch_lightning import LightningDataModule, LightningModule

CURRENT = "exports/current"


def prepare(*overrides: str) -> Path:
    """Raw data to a prepared store; returns its folder. As `towers prepare`."""
    from towers.commands import prepare as command

    return command.run(compose("prepare", overrides)).folder


def train(*overrides: str) -> Path:
    """Trains; returns the run's folder. As `towers train`."""
    from towers.commands import train as command

    return command.run(compose("train", overrides))


def lightning(*overrides: str) -> "tuple[LightningModule, LightningDataModule]":
    """The LightningModule and data module of `towers train`, for a Trainer of one's own: one process, on any device."""
    from towers.commands import wiring as command

    return command.modules_of(compose("train", overrides))


def evaluate(*overrides: str) -> dict[str, dict[str, float]]:
    """Means by ranker and metric. As `towers evaluate`."""
    from towers.commands import evaluate as command
    from towers.manifest import read_json

    folder = command.run(compose("evaluate", overrides))
    return {name: figures["means"] for name, figures in read_json(folder / "metrics.json")["rankers"].items()}


def export(*overrides: str) -> Path:
    """Writes a version of an export; returns its folder. As `towers export`."""
    from towers.commands import export as command

    return command.run(compose("export", overrides))


def fit(*overrides: str) -> Export:
    """Prepare, train and export in one; returns the export, opened."""
    prepare(*overrides)
    folder = train(*overrides)
    return Export(export(*overrides, f"checkpoint='{folder}'"))


def embed(history: Sequence[str | int], export: str | Path = CURRENT) -> Float[np.ndarray, " dim"]:
    """The vector of somebody who played these contents (ids or titles), oldest first."""
    opened = Export(Path(export))
    return opened.encode_events(opened.plays(_rows(opened, history)))


def embed_content(
    audio: str | Path | tuple[np.ndarray, int] | None = None,
    metadata: Mapping[str, Any] | None = None,
    export: str | Path = CURRENT,
) -> Float[np.ndarray, " dim"]:
    """The vector of a content that training has not seen, by its sound (a file, or samples and their rate in Hz) and
    what else is known of it (columns of the contents table); both may be missing."""
    heard = Path(audio) if isinstance(audio, str) else audio
    return encode_content(Export(Path(export)), heard, metadata or {})


def recommend(
    *,
    user: str | int | None = None,
    history: Sequence[str | int] | None = None,
    k: int = 20,
    export: str | Path = CURRENT,
) -> list[dict[str, Any]]:
    """What a listener, or somebody with this history, might play next: id, title, artists, kind, genres, score.

    Raises:
        UserError: neither or both of `user` and `history`, an unknown id, `k` below 1, no export.
    """
    opened = Export(Path(export))
    if (user is None) == (history is None):
        raise UserError("give either user or history")
    if user is not None:
        row = opened.user_row(str(user))
        return _described(opened, opened.recommend(opened.user_vectors[row], k, without=opened.chosen(row)))
    heard = _rows(opened, history or [])
    return _described(opened, opened.recommend(opened.encode_events(opened.plays(heard)), k, without=heard))


def similar(content: str | int, *, k: int = 10, export: str | Path = CURRENT) -> list[dict[str, Any]]:
    """What is near a content of any kind, by id or title; as `recommend`."""
    opened = Export(Path(export))
    return _described(opened, opened.similar(opened.content_row(str(content)), k))


def _rows(opened: Export, names: Sequence[str | int]) -> np.ndarray:
    return np.array([opened.content_row(str(name)) for name in names], dtype=np.int64)


def _described(opened: Export, found: Found) -> list[dict[str, Any]]:
    names = ("title", "artists", "kind", "genres", "content_id")
    return [
        {**dict(zip(names, described(opened, row), strict=True)), "score": score}
        for row, score in zip(found.rows.tolist(), found.scores.tolist(), strict=True)
    ]
