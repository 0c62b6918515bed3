"""`towers prepare`: raw data to a prepared store."""

import os
from pathlib import Path

import hydra
from omegaconf import DictConfig

from towers.commands.progress import StageProgress
from towers.config import CONFIG_DIR, instantiate, value
from towers.data.build import StoreBuilder
from towers.data.spectrogram_parts import Shard
from towers.data.store import Store
from towers.errors import UserError


def run(config: DictConfig) -> Store:
    """Builds the store of `data` unless it is there; says what was kept and what was rejected."""
    with StageProgress() as progress:
        builder = _builder(config, progress)
        store, is_new = builder.build()
    if builder.decoding.files:
        print(builder.decoding)
    counts = store.manifest["counts"]
    if not is_new:
        print(f"nothing to prepare: {store.folder} is up to date", *builder.losses.lines(), sep="\n")
        return store
    kept = ("events", "positives", "users", "contents", "sounds")
    print(f"prepared {store.folder}: " + ", ".join(f"{counts[name]:,} {name}" for name in kept))
    rejected = {name: count for name, count in counts.items() if name.startswith("rejected") and count}
    if rejected:
        reasons = ", ".join(f"{count:,} {name.removeprefix('rejected_')}" for name, count in rejected.items())
        print(f"rejected, with reasons in {store.folder / 'rejected'}: {reasons}")
    for line in builder.losses.lines():
        print(line)
    return store


def run_shard(config: DictConfig, shard: Shard) -> None:
    """Decodes a share of the sounds of `data`, and says what to do once all are decoded."""
    with StageProgress() as progress:
        decoding = _builder(config, progress).decode_shard(shard)
    print(decoding)
    print(f"shard {shard} is decoded; once all {shard.count} are, run this command without data.shard for the store")


def _builder(config: DictConfig, progress: StageProgress) -> StoreBuilder:
    return StoreBuilder(
        root=Path(config.paths.stores) / config.data.name,
        source=instantiate(config.data.source, "data.source"),
        split=instantiate(config.data.split, "data.split"),
        features=instantiate(config.features, "features"),
        max_rejected_fraction=value(config, "data.max_rejected_fraction", float),
        max_rejected_sounds_fraction=value(config, "data.max_rejected_sounds_fraction", float),
        num_workers=_num_workers(config),
        on_progress=progress.update,
    )


def _num_workers(config: DictConfig) -> int:
    wanted = value(config, "data.num_workers", int | None)
    if wanted is not None and wanted < 1:
        raise UserError(f"data.num_workers={wanted}: must be at least 1, or null for as many as there are processors")
    return wanted or os.cpu_count() or 1


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="prepare")
def main(config: DictConfig) -> None:
    """The command."""
    shard = value(config, "data.shard", str | int | None)
    if shard is None:
        run(config)
    else:
        run_shard(config, Shard.parse(str(shard)))
