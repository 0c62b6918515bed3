"""`towers export`: a run's checkpoint to a versioned export."""

from pathlib import Path

from omegaconf import DictConfig

from towers.assembly.export import ExportPlan, export_plan
from towers.assembly.run import chosen_run, load_run
from towers.commands.progress import StageProgress
from towers.manifest import digest_of
from towers.publishing.describing import version_of
from towers.publishing.writer import publish, write_export
from towers.retrieval.export import Export


def run(config: DictConfig) -> Path:
    """Exports the run that `checkpoint` names, or the newest of the experiment; returns the version's folder."""
    return export(export_plan(config), chosen_run(config))


def export(plan: ExportPlan, folder: Path) -> Path:
    """Exports the run in `folder` unless that version is there; returns its folder."""
    loaded = load_run(folder, plan.stores)
    trained = plan.trained(loaded)
    source = trained.source(plan.settings)
    target = plan.version_with(source)
    if target is None:
        earlier = plan.earlier()
        facts = [source, None if earlier is None else earlier.version]
        target = plan.exports / version_of(loaded.store, digest_of(facts))
        with StageProgress() as progress:
            write_export(target, trained, plan.settings, earlier, progress.update)
        done = f"exported {target}: {summary(target)}"
    else:
        done = f"nothing to export: {target} is up to date"
    # Before `current` moves: who encodes listeners by a version's tower asks the engine for contents of that version.
    with StageProgress() as progress:
        filled = plan.sink.write(Export(target), progress.update)
    publish(target)
    print(f"{done}; current points to it")
    if filled:
        print(filled)
    return target


def summary(target: Path) -> str:
    """What a new version holds, and whether it may be mixed with the one before."""
    manifest = Export(target, check_files=False).manifest
    counts, reason = manifest["counts"], manifest["space"].get("reason")
    told = f"{counts['contents']:,} contents, {counts['users']:,} listeners, space {manifest['space_id']}"
    return told if reason is None else f"{told} ({reason})"
