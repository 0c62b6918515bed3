"""`towers export`: writes a run's checkpoint as a versioned export."""

from pathlib import Path

from omegaconf import DictConfig

from towers.assembly.choosing import chosen_run, serving_run
from towers.assembly.export import ExportPlan, export_plan
from towers.assembly.promotion import older_by
from towers.commands.progress import StageProgress
from towers.manifest import digest_of, read_json
from towers.publishing.describing import space_told, version_of
from towers.publishing.writer import publish, write_export
from towers.retrieval.export import Export
from towers.retrieval.files import MANIFEST


def run(config: DictConfig) -> Path:
    """Exports the run that `checkpoint` names, or the newest of the experiment; to refresh the served version, its own
    run.

    Returns:
        The version's folder.
    """
    plan = export_plan(config)
    serving = serving_run(config) if plan.is_refreshed else None
    return export(plan, chosen_run(config) if serving is None else serving)


def export(plan: ExportPlan, folder: Path) -> Path:
    """Exports the run in `folder` unless that version exists, and publishes it where that is allowed; returns its
    folder."""
    target, done = written(plan, folder)
    served, reason = plan.promotion.served(), plan.promotion.withheld(folder, target)
    if reason is not None:
        stays = f"current stays at {served.name}" if served else "nothing is current"
        print(f"{done}; {stays}, for {reason}; to publish it: the same command with checkpoint={folder} promote=true")
        return target
    # Before `current` moves: clients that encode listeners with a version's tower query the engine for that version.
    with StageProgress() as progress:
        filled = plan.sink.write(Export(target), progress.update)
    publish(target)
    print(f"{done}; {moved(served, target)}")
    if filled:
        print(filled)
    return target


def written(plan: ExportPlan, folder: Path) -> tuple[Path, str]:
    """Writes the version of the run in `folder` unless it exists; does not publish it.

    Returns:
        The version's folder, and a line for people.
    """
    loaded = plan.load(folder)
    trained = plan.trained(loaded)
    plan.sink.check(plan.settings.dim_of(trained.two_tower.dim))
    source = trained.source(plan.settings)
    target = plan.version_with(source)
    if target is None:
        earlier = plan.earlier()
        facts = [source, None if earlier is None else earlier.version]
        target = plan.exports / version_of(loaded.store, digest_of(facts), plan.exports)
        with StageProgress() as progress:
            write_export(target, trained, plan.settings, earlier, progress.update)
        done = f"exported {target}: {summary(target)}"
    else:
        done = f"nothing to export: {target} is up to date"
    return target, done


def moved(served: Path | None, target: Path) -> str:
    """Returns a line on where `current` pointed and points now, and on whether the space is kept."""
    if served is None or served == target.resolve():
        return "current points to it"
    before, after = (read_json(folder / MANIFEST) for folder in (served, target))
    told = [f"current moves {'BACK ' if older_by(target, served) else ''}from {served.name} to it"]
    if (space := space_told(before, after)) is not None:
        told.append(space)
    return ", ".join(told)


def summary(target: Path) -> str:
    """Returns a line on a new version's counts and on its space: whether its vectors may be mixed with earlier ones."""
    manifest = Export(target, check_files=False).manifest
    counts, reason = manifest["counts"], manifest["space"].get("reason")
    told = f"{counts['contents']:,} contents, {counts['users']:,} listeners, space {manifest['space_id']}"
    told = told if reason is None else f"{told} ({reason})"
    if manifest["as_of_us"] is None:
        return told
    judged = "" if manifest["space"]["recall@20 by dimension"] else ", too little of the test before it to judge by"
    return f"{told}, as of {manifest['window']['end']}{judged}"
