"""`towers evaluate`: full-ranking metrics of a run's checkpoint, sliced, beside baselines in the same harness."""

from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from towers.assembly import Run, chosen_run, evaluation_settings, load_run
from towers.config import CONFIG_DIR, instantiate
from towers.errors import UserError
from towers.evaluation.harness import evaluate
from towers.evaluation.known import Known
from towers.evaluation.rankers import DenseRanker, Ranker, Scorer
from towers.evaluation.report.table import table, write
from towers.evaluation.result import Evaluation, split_key
from towers.evaluation.vectors import VectorRanker
from towers.manifest import atomic_file, digest_of, library_versions, read_json

MODEL = "towers"
METRICS = ("recall", "ndcg", "mrr", "hit_rate")
TABLE_WIDTH = 120


def run(config: DictConfig, folder: Path | None = None) -> Path:
    """Evaluates the run in `folder` (or as `checkpoint` says) unless that is done; prints the table.

    Returns:
        The folder with metrics.json, metrics.parquet, listeners.parquet and table.txt.
    """
    loaded = load_run(folder or chosen_run(config), Path(config.paths.stores))
    settings = OmegaConf.to_container(config.evaluation, resolve=True)
    assert isinstance(settings, dict)
    fingerprint = digest_of([loaded.fingerprint, loaded.store.fingerprint, settings])
    target = loaded.folder / f"evaluation-{config.evaluation.period}"
    if (target / "metrics.json").exists() and read_json(target / "metrics.json")["metadata"][
        "fingerprint"
    ] == fingerprint:
        print(f"nothing to evaluate: {target} is up to date")
        print((target / "table.txt").read_text(), end="")
        return target
    check_keys(config)
    evaluations = evaluate_all(loaded, config)
    console = Console(record=True, width=TABLE_WIDTH, force_terminal=False)
    for keys in config.evaluation.tables:
        console.print(table(evaluations, list(keys)))
    with atomic_file(target / "table.txt") as temporary:
        temporary.write_text(console.export_text())
    metadata = {
        "fingerprint": fingerprint,
        "run": loaded.folder.name,
        "store": loaded.store.fingerprint,
        "settings": settings,
        "libraries": library_versions(),
    }
    write(evaluations, target, metadata, main_metric=config.evaluation.main_metric)
    print(f"evaluated {loaded.folder}: {target}")
    return target


def evaluate_all(loaded: Run, config: DictConfig) -> list[Evaluation]:
    """The model first, then the baselines."""
    period = config.evaluation.period
    if period not in ("validation", "test"):
        raise UserError(f"evaluation.period={period}: must be validation or test")
    known = Known(loaded.store, period)
    task = known.task
    contents = loaded.content_vectors()
    model = VectorRanker(task, MODEL, loaded.user_vectors(task.user_rows, contents, period), contents)
    nodes = config.evaluation.baselines.items()
    baselines = (baseline(node, name, known) for name, node in nodes if node is not None)
    rankers: list[Ranker] = [model, *(DenseRanker(task, scorer) for scorer in baselines if scorer is not None)]
    settings = evaluation_settings(config)
    return [evaluate(task, ranker, **settings) for ranker in rankers]


def baseline(node: Any, name: Any, known: Known) -> Scorer | None:
    """A baseline, fitted on everything before the period by all listeners where it wants that; null where it cannot."""
    partial = instantiate(node, f"evaluation.baselines.{name}")
    try:
        return known.give(partial)
    except ValueError as error:
        raise UserError(f"evaluation.baselines.{name}: {error}") from error
    except UserError as error:
        print(f"left out of the table: {error} (evaluation.baselines.{name}=null says so beforehand)")
        return None


def check_keys(config: DictConfig) -> None:
    """Refuses columns that no evaluation can have."""
    ks = evaluation_settings(config)["ks"]
    wanted = [key for keys in config.evaluation.tables for key in keys] + [config.evaluation.main_metric]
    known = {f"{metric}@{k}" for metric in METRICS for k in ks}
    for key in wanted:
        if split_key(key)[0] not in known:
            raise UserError(
                f"evaluation.tables, evaluation.main_metric: no metric {key!r} with evaluation.ks={list(ks)}"
            )


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="evaluate")
def main(config: DictConfig) -> None:
    """The command."""
    run(config)
