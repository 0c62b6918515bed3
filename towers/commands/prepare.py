"""`towers prepare`: raw data to a prepared store."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig

from towers.commands.progress import StageProgress
from towers.config.instantiate import instantiate, value
from towers.contract import schema
from towers.data.audio.spectrogram_parts import Shard
from towers.data.build import StoreBuilder
from towers.data.forgetting import read_forgotten
from towers.data.periods import lines
from towers.data.profiling.files import write_profile
from towers.data.profiling.lines import lines as profile_lines
from towers.data.profiling.lines import verdict_lines
from towers.data.profiling.thresholds import Thresholds
from towers.data.rejecting import DUPLICATE, Limits
from towers.data.sources.remote import RawPath
from towers.data.store import CURRENT, Store
from towers.errors import UserError
from towers.evaluation.report.profile_page import FILE, write_profile_page

SHOWN = 5
"""Most reasons printed for a table."""


def run(config: DictConfig) -> Store | None:
    """Builds the store of `data`; with `data.shard`, only decodes that share of its sounds and returns null."""
    shard = value(config, "data.shard", str | int | None)
    if shard is None:
        return prepare(config)
    decode_shard(config, Shard.parse(str(shard)))
    return None


def prepare(config: DictConfig) -> Store:
    """Builds the store of `data` unless it exists; prints what was kept and what was left out."""
    root, thresholds = _root(config), instantiate(config.profiling, "profiling")
    before = (root / CURRENT).resolve() if (root / CURRENT).exists() else None
    with StageProgress() as progress:
        builder = _builder(config, progress)
        store, is_new = builder.build()
    if builder.decoding.files:
        print(builder.decoding)
    if is_new:
        counts = store.manifest["counts"]
        kept = ("events", "positives", "users", "contents", "sounds")
        print(f"prepared {store.folder}: " + ", ".join(f"{counts[name]:,} {name}" for name in kept))
    else:
        print(f"nothing to prepare: {store.folder} is up to date")
    sounds = [f"{line}; all are in {store.folder / 'rejected'}" for line in builder.losses.lines()]
    for line in [*lines(store.periods), *unread(store), *losses(store, builder.left_alone), *builder.remarks, *sounds]:
        print(line)
    for line in profiled(store, before, thresholds, value(config, "data.name", str)):
        print(line)
    return store


def profiled(store: Store, before: Path | None, thresholds: Thresholds, name: str) -> list[str]:
    """Writes the profile and its page beside the store; returns lines on them and on changes since the version
    before."""
    profile, verdict = write_profile(store, before, thresholds)
    page = store.folder / FILE
    if not page.exists():
        write_profile_page(profile, verdict, page, name)
    return [*profile_lines(profile), *verdict_lines(verdict), f"profile       {page}"]


def unread(store: Store) -> list[str]:
    """Returns a line on columns of users/ that only the evaluation reads; none where the towers read them all."""
    named = store.features.user_columns
    others = [name for name in store.users.column_names if name not in ("user_id", *named)]
    key = f"features.user_columns=[{','.join([*named, *others])}]"
    return [f"users/: the towers do not read {', '.join(others)}; with {key} they do"] if others else []


def losses(store: Store, left_alone: Sequence[RawPath]) -> list[str]:
    """Returns lines on what is not in the store: duplicates, rejected rows by reason, dates out of range, and files
    that were not read. Empty where all is in it."""
    counts, lines = store.manifest["counts"], []
    left_out = store.rejected()
    rejected = {table: left_out[table] for table in (*schema.RAW_TABLES, "lines") if table in left_out}
    repeated = {table: reasons.pop(DUPLICATE) for table, reasons in rejected.items() if DUPLICATE in reasons}
    if repeated:
        lines.append("dropped as duplicates: " + ", ".join(f"{count:,} {table}" for table, count in repeated.items()))
    told = [_rejected(table, reasons) for table, reasons in rejected.items() if reasons]
    if told:
        lines.append(f"rejected, with reasons in {store.folder / 'rejected'}: " + ", ".join(told))
    for table in (schema.CONTENTS, schema.USERS, schema.PLAYLISTS):
        if lost := counts.get(f"dates_lost_{table}"):
            lines.append(f"set to unknown: {lost:,} dates of {table} outside the years 1 to 9999")
    if left_alone:
        lines.append(f"not read, because they are not Parquet: {len(left_alone):,} files, the first {left_alone[0]}")
    return lines


def _rejected(table: str, reasons: Mapping[str, int]) -> str:
    named = [f"{count:,} {' '.join(reason.split())}" for reason, count in list(reasons.items())[:SHOWN]]
    others = sum(list(reasons.values())[SHOWN:])
    return f"{sum(reasons.values()):,} {table} ({', '.join([*named, f'{others:,} others'] if others else named)})"


def decode_shard(config: DictConfig, shard: Shard) -> None:
    """Decodes a share of the sounds of `data`, and prints what to do once all are decoded."""
    with StageProgress() as progress:
        decoding = _builder(config, progress).decode_shard(shard)
    print(decoding)
    print(f"shard {shard} is decoded; once all {shard.count} are, run this command without data.shard for the store")


def _builder(config: DictConfig, progress: StageProgress) -> StoreBuilder:
    return StoreBuilder(
        root=_root(config),
        source=instantiate(config.data.source, "data.source"),
        split=instantiate(config.data.split, "data.split"),
        features=instantiate(config.features, "features"),
        limits=Limits(
            max_rejected_fraction=value(config, "data.max_rejected_fraction", float),
            max_duplicate_fraction=value(config, "data.max_duplicate_fraction", float),
            max_rejected_sounds_fraction=value(config, "data.max_rejected_sounds_fraction", float),
            max_unlisted_fraction=value(config, "data.max_unlisted_fraction", float),
        ),
        filters={name: instantiate(rule, f"data.filters.{name}") for name, rule in config.data.filters.items()},
        forget=_forgotten(config),
        num_workers=_num_workers(config),
        engine=instantiate(config.data.engine, "data.engine"),
        spill=None if config.data.spill is None else Path(config.data.spill),
        on_progress=progress.update,
    )


def _forgotten(config: DictConfig) -> list[str]:
    path = value(config, "data.forget", str | None)
    return [] if path is None else read_forgotten(Path(path))


def _root(config: DictConfig) -> Path:
    return Path(config.paths.stores) / config.data.name


def _num_workers(config: DictConfig) -> int:
    wanted = value(config, "data.num_workers", int | None)
    if wanted is not None and wanted < 1:
        raise UserError(f"data.num_workers={wanted}: must be at least 1, or null for one per processor")
    return wanted or os.cpu_count() or 1
