"""`towers export`: a run's checkpoint to a versioned export."""

from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from towers.assembly import Run, chosen_run, evaluation_settings, load_run, vector_ranker
from towers.commands.progress import StageProgress
from towers.config import CONFIG_DIR, instantiate, value
from towers.errors import UserError
from towers.manifest import digest_of, read_json
from towers.publishing.describing import version_of
from towers.publishing.held_out import HeldOutListening
from towers.publishing.trained import ExportSettings, Trained
from towers.publishing.writer import CURRENT, publish, write_export
from towers.retrieval.export import Export
from towers.retrieval.files import MANIFEST


def run(config: DictConfig, folder: Path | None = None) -> Path:
    """Exports the run in `folder` (or as `checkpoint` says) unless that version is there; returns its folder."""
    sink = instantiate(config.sink, "sink")
    loaded = load_run(folder or chosen_run(config), Path(config.paths.stores))
    settings, exports = settings_of(config), Path(config.paths.exports)
    trained = trained_of(loaded, config)
    source = trained.source(settings)
    target = version_with(exports, source)
    if target is None:
        earlier = earlier_of(config)
        facts = [source, None if earlier is None else earlier.version]
        target = exports / version_of(loaded.store, digest_of(facts))
        with StageProgress() as progress:
            write_export(target, trained, settings, earlier, progress.update)
        done = f"exported {target}: {described(target)}"
    else:
        done = f"nothing to export: {target} is up to date"
    # Before `current` moves: who encodes listeners by a version's tower asks the engine for contents of that version.
    with StageProgress() as progress:
        filled = sink.write(Export(target), progress.update)
    publish(target)
    print(f"{done}; current points to it")
    if filled:
        print(filled)
    return target


def described(target: Path) -> str:
    """What a new version holds, and whether it may be mixed with the one before."""
    manifest = Export(target, check_files=False).manifest
    counts, reason = manifest["counts"], manifest["space"].get("reason")
    told = f"{counts['contents']:,} contents, {counts['users']:,} listeners, space {manifest['space_id']}"
    return told if reason is None else f"{told} ({reason})"


def settings_of(config: DictConfig) -> ExportSettings:
    """How the export is written.

    Raises:
        UserError: a number that cannot be.
    """
    settings = ExportSettings(
        dim=value(config, "dim", int | None),
        index=instantiate(config.index, "index"),
        variants=value(config, "variants", tuple[str, ...]),
        min_variant_overlap=value(config, "min_variant_overlap", float),
        min_recall_share=value(config, "min_recall_share", float),
        max_parity_difference=value(config, "max_parity_difference", float),
        rows_per_part=value(config, "rows_per_part", int),
        num_threads=value(config, "num_threads", int),
    )
    for name in ("rows_per_part", "num_threads"):
        if getattr(settings, name) < 1:
            raise UserError(f"{name}={getattr(settings, name)}: must be at least 1")
    return settings


def trained_of(loaded: Run, config: DictConfig) -> Trained:
    """What is exported of a run, with the figures of its evaluation."""
    judging = evaluation_settings(config)
    held_out = HeldOutListening(
        loaded.store, filter_seen=judging["filter_seen"], min_users=judging["min_users"], ranker=vector_ranker()
    )
    return Trained(
        store=loaded.store,
        two_tower=loaded.two_tower,
        positives=loaded.positives,
        content_blocks=loaded.content_blocks,
        sounds=loaded.sounds,
        sound_blocks=loaded.sound_blocks,
        user_vectors=loaded.user_vectors,
        max_length=loaded.config.datamodule.max_length,
        provenance=loaded.provenance,
        weights=loaded.fingerprint,
        config=digest_of(OmegaConf.to_container(loaded.config, resolve=True)),
        metrics=metrics_of(loaded, config),
        held_out=held_out,
    )


def version_with(exports: Path, source: str) -> Path | None:
    """The version that was made of the same network in the same way; null where there is none."""
    found = [path.parent for path in exports.glob(f"[!.]*/{MANIFEST}") if read_json(path).get("source") == source]
    return next((folder for folder in found if not folder.is_symlink()), None)


def earlier_of(config: DictConfig) -> Export | None:
    """The version onto whose space the new one is turned.

    Raises:
        UserError: it was asked for by another name than `current`, and is not there, or it is damaged.
    """
    name = value(config, "align_to", str | None)
    is_default = name == str(Path(config.paths.exports) / CURRENT)
    if name is None or (is_default and not Path(name).exists()):
        return None
    return Export(Path(name))


def metrics_of(loaded: Run, config: DictConfig) -> dict[str, dict[str, float]]:
    """Means by ranker of the run's test evaluation, of the columns of its tables; empty where there is none."""
    path = loaded.folder / "evaluation-test" / "metrics.json"
    if not path.exists():
        return {}
    shown = {key for keys in config.evaluation.tables for key in keys}
    return {
        name: {key: figure for key, figure in figures["means"].items() if key in shown}
        for name, figures in read_json(path)["rankers"].items()
    }


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="export")
def main(config: DictConfig) -> None:
    """The command."""
    run(config)
