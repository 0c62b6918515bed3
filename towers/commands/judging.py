"""What an evaluation and a comparison share: the protocol from the configuration, vectors, columns that can be had."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from towers.assembly import evaluation_settings, vector_ranker
from towers.commands.subject import Subject, open_subject
from towers.config import instantiate, raw_list, value
from towers.data.store import Store
from towers.errors import UserError
from towers.evaluation import list_metrics
from towers.evaluation.checks.future import trained_before
from towers.evaluation.comparison.compare import compare
from towers.evaluation.comparison.shown import show
from towers.evaluation.comparison.written import write
from towers.evaluation.metrics import METRICS
from towers.evaluation.profiles import TASTE_SLICING
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.report.content_cards import ContentCards
from towers.evaluation.result import ALL, Evaluation, metric_key, split_key
from towers.evaluation.slices import SLICES
from towers.evaluation.slicings import Period
from towers.manifest import atomic_file, library_versions

MODEL = "towers"
TABLE_WIDTH = 120


def protocol_of(config: DictConfig, store: Store, period: Period) -> EvaluationProtocol:
    """As the configuration says.

    Raises:
        UserError: a value that cannot be, with its key.
    """
    nodes = (config.evaluation.slicings or {}).items()
    rules = {str(name): instantiate(node, f"evaluation.slicings.{name}") for name, node in nodes if node is not None}
    list_k = value(config, "evaluation.list_k", int)
    settings = evaluation_settings(config) | {"list_k": list_k, "rules": rules, "ranker": vector_ranker()}
    protocol = EvaluationProtocol(store, period, **settings)
    if not len(protocol.task.user_rows):
        raise UserError(
            f"evaluation.period={period}: nobody in {store.folder} has a target in it; choose the other period, or "
            "cut the data elsewhere (data.split)"
        )
    return protocol


def vectors_of(
    subject: Subject, protocol: EvaluationProtocol
) -> tuple[Float[np.ndarray, "users dim"], Float[np.ndarray, "contents dim"]]:
    """Of the protocol's listeners, and of all contents."""
    contents = subject.vectors.content_vectors()
    return subject.vectors.user_vectors(protocol.task.user_rows, contents, protocol.period), contents


def check_keys(config: DictConfig) -> None:
    """Refuses columns that no evaluation can have, and an unknown period, before anything is read."""
    period, ks = config.evaluation.period, evaluation_settings(config)["ks"]
    if period not in ("validation", "test"):
        raise UserError(f"evaluation.period={period}: must be validation or test")
    if config.evaluation.list_k not in ks:
        raise UserError(f"evaluation.list_k={config.evaluation.list_k}: must be one of evaluation.ks={list(ks)}")
    slicings = list(config.evaluation.slicings or {})
    if TASTE_SLICING in slicings:
        raise UserError(f"evaluation.slicings.{TASTE_SLICING}: this name is taken; choose another")
    main_metric = value(config, "evaluation.main_metric", str)
    if split_key(main_metric)[1] != ALL:
        raise UserError(f"evaluation.main_metric={main_metric}: without a slice; it is told of all of them")
    _check_column("evaluation.main_metric", main_metric, ks, slicings)
    for keys in value(config, "evaluation.tables", tuple[list[str], ...] | None) or ():
        for key in keys:
            _check_column("evaluation.tables", key, ks, slicings)


def _check_column(where: str, key: str, ks: Sequence[int], slicings: Sequence[str]) -> None:
    metric, slice_name = split_key(key)
    name, _, k = metric.partition("@")
    if k not in map(str, ks) or name not in (*METRICS, *list_metrics.NAMES):
        raise UserError(
            f"{where}: no metric {metric!r} with evaluation.ks={list(ks)}; there are "
            f"{', '.join((*METRICS, *list_metrics.NAMES))}"
        )
    divides = slice_name.partition(":")
    if slice_name not in SLICES and not (divides[1] and divides[0] in (*slicings, TASTE_SLICING)):
        raise UserError(
            f"{where}: no slice {slice_name!r}; there are {', '.join(SLICES)}, and NAME:LABEL of evaluation.slicings"
        )


def compare_two(config: DictConfig) -> Path:
    """Two runs or exports on one task: prints what changed from the first to the second, and writes it.

    Raises:
        UserError: not two, or two that were not made from the same prepared data.
    """
    folders = raw_list("compare", config.compare) or []
    check_keys(config)
    if len(folders) != 2:
        raise UserError(f"compare=[{','.join(folders)}]: needs two folders of runs or exports, as compare=[A,B]")
    before, after = (open_subject(Path(folder), config) for folder in folders)
    if before.store.fingerprint != after.store.fingerprint:
        raise UserError(
            f"compare=[{','.join(folders)}]: made from different stores, {before.store.fingerprint} and "
            f"{after.store.fingerprint}; compare their exports, which can be measured on any store"
        )
    protocol = protocol_of(config, before.store, config.evaluation.period)
    for subject in (before, after):
        check = trained_before(protocol.store, protocol.period, subject.provenance)
        if check.passed is False:
            raise UserError(f"compare: {subject.folder}: {check.detail}; compare on a store with a later period")
    names = [subject.name for subject in (before, after)]
    if names[0] == names[1]:
        names = [f"{name} ({place})" for name, place in zip(names, ("before", "after"), strict=True)]
    first, second = (
        protocol.evaluate_vectors(name, *vectors_of(subject, protocol))
        for name, subject in zip(names, (before, after), strict=True)
    )
    main_metric = metric_key(config.evaluation.main_metric, "discovery")
    if main_metric not in first.means():
        raise UserError(
            f"evaluation.min_users={protocol.min_users}: {first.counts['discovery']:,} listeners have a first listen, "
            f"too few for {main_metric}; lower it"
        )
    comparison = compare(
        protocol.task,
        first,
        second,
        ContentCards(protocol.store.contents, protocol.task),
        protocol.store.user_ids,
        _keys(config, first, second),
        main_metric,
    )
    target = Path(config.paths.evaluations) / f"{before.name}-to-{after.name}-{protocol.period}"
    # Whoever finds it takes the rest for written.
    (target / "comparison.json").unlink(missing_ok=True)
    console = Console(record=True, width=TABLE_WIDTH, force_terminal=False)
    show(comparison, console)
    with atomic_file(target / "table.txt") as temporary:
        temporary.write_text(console.export_text())
    metadata = {
        "before": {"folder": str(before.folder), "fingerprint": before.fingerprint},
        "after": {"folder": str(after.folder), "fingerprint": after.fingerprint},
        "store": protocol.store.fingerprint,
        "settings": OmegaConf.to_container(config.evaluation, resolve=True),
        "libraries": library_versions(),
    }
    write(comparison, target, metadata)
    print(f"compared {before.folder} with {after.folder}: {target}")
    return target


def _keys(config: DictConfig, first: Evaluation, second: Evaluation) -> list[str]:
    """The columns of the tables, then the main metric in every slice that both have a figure for."""
    shared = first.means().keys() & second.means().keys()
    shown = [key for keys in config.evaluation.tables or () for key in keys]
    sliced = [metric_key(config.evaluation.main_metric, name) for name in first.slices]
    return [key for key in dict.fromkeys([*shown, *sliced]) if key in shared]
