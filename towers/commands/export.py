"""`towers export`: a run's checkpoint to a versioned export."""

from pathlib import Path

import hydra
import numpy as np
from omegaconf import DictConfig, OmegaConf

from towers.assembly import Run, chosen_run, load_run
from towers.config import CONFIG_DIR, instantiate
from towers.manifest import digest_of, read_json
from towers.publishing.writer import ExportParts, publish, version_of, write_export


def run(config: DictConfig, folder: Path | None = None) -> Path:
    """Exports the run in `folder` (or as `checkpoint` says) unless that version is there; returns its folder."""
    loaded = load_run(folder or chosen_run(config), Path(config.paths.stores))
    store, exports = loaded.store, Path(config.paths.exports)
    index = instantiate(config.index, "index")
    metrics = metrics_of(loaded, config)
    version = version_of(store, digest_of([loaded.fingerprint, store.fingerprint, repr(index), metrics]))
    if (exports / version).exists():
        publish(exports / version)
        print(f"nothing to export: {exports / version} is up to date; current points to it")
        return exports / version
    contents = loaded.content_vectors()
    users = loaded.user_vectors(np.arange(store.histories.num_users), contents, "end")
    parts = ExportParts(
        store=store,
        user_tower=loaded.two_tower.user_tower,
        content_vectors=contents,
        user_vectors=users,
        max_length=loaded.config.datamodule.max_length,
        trained_until_us=loaded.trained_until_us,
        has_seen_validation=loaded.has_seen_validation,
        weights=loaded.fingerprint,
        config=digest_of(OmegaConf.to_container(loaded.config, resolve=True)),
        metrics=metrics,
        index=index,
    )
    write_export(exports / version, parts)
    publish(exports / version)
    print(f"exported {exports / version}: {len(contents):,} contents, {len(users):,} listeners; current points to it")
    return exports / version


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
