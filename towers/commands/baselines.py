"""The baselines of an evaluation: tuned on validation, fitted, evaluated once for each store and kept."""

from collections.abc import Callable, Mapping
from functools import partial, wraps
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from towers.commands.progress import StageProgress
from towers.config.instantiate import instantiate
from towers.errors import DataLacks, UserError
from towers.evaluation.known import Known
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.ranking.rankers import DenseRanker, Scorer
from towers.evaluation.result import Evaluation
from towers.evaluation.saved import cached, fingerprint
from towers.evaluation.tuning import Build, Tuning
from towers.manifest import library_versions

FITTED_WITH = ("numpy", "scipy", "implicit")
"""Libraries whose version may change what a baseline is."""


def evaluate_baselines(
    config: DictConfig, protocol: EvaluationProtocol, kept: Path
) -> tuple[list[Evaluation], dict[str, Any]]:
    """All that the configuration names, in its order; those that this data does not allow are named and left out.

    Args:
        config: its `evaluation` says which, with which settings, and how they are tuned.
        protocol: the one for everybody.
        kept: folder of the evaluations that are kept.

    Returns:
        The evaluations, and by ranker what tuning tried and chose.

    Raises:
        UserError: a setting that cannot be, of a baseline or of its grid.
    """
    tuning: Tuning = instantiate(config.evaluation.tuning, "evaluation.tuning")
    builds = baselines_of(config, tuning)
    validation = protocol.known if protocol.period == "validation" else Known(protocol.store, "validation")
    evaluations, choices = [], {}
    with StageProgress() as progress:
        for done, (name, build) in enumerate(builds.items()):
            progress.update("baselines", done, len(builds))
            try:
                key = fingerprint(_facts(config, protocol, name))
                evaluation, choice = cached(kept, key, partial(_evaluated, name, build, tuning, protocol, validation))
            except DataLacks as error:
                print(f"left out of the table: {error} (evaluation.baselines.{name}=null says so beforehand)")
                continue
            evaluations.append(evaluation)
            choices[evaluation.ranker] = choice
        progress.update("baselines", len(builds), len(builds))
    return evaluations, choices


def baselines_of(config: DictConfig, tuning: Tuning) -> dict[str, Build]:
    """By name, what makes each baseline from settings.

    Raises:
        UserError: a setting that cannot be, written or in the grid, or a grid for a baseline that is not there.
    """
    nodes = config.evaluation.baselines or {}
    unknown = [name for name in tuning.grid if name not in nodes]
    if nodes and unknown:
        raise UserError(f"evaluation.tuning.grid.{unknown[0]}: no such baseline; there are {', '.join(nodes)}")
    builds = {str(name): _build(str(name), node) for name, node in nodes.items() if node is not None}
    for name, build in builds.items():
        for settings in ({}, *tuning.settings_of(name)):
            build(settings)
    return builds


def _build(name: str, node: DictConfig) -> Build:
    key = f"evaluation.baselines.{name}"
    written = OmegaConf.to_container(node, resolve=True)
    assert isinstance(written, dict)

    def build(settings: Mapping[str, Any]) -> Callable[..., Scorer]:
        constructor = instantiate({**written, **settings}, key)

        @wraps(constructor)
        def checked(**facts: Any) -> Scorer:
            try:
                return constructor(**facts)
            except ValueError as error:
                raise UserError(f"{key}: {error}") from error

        return checked

    return build


def _evaluated(
    name: str, build: Build, tuning: Tuning, protocol: EvaluationProtocol, validation: Known
) -> tuple[Evaluation, dict[str, Any]]:
    scorer, choice = tuning.fit(
        name,
        build,
        protocol.known,
        validation,
        filter_seen=protocol.filter_seen,
        min_users=protocol.min_users,
    )
    return protocol.evaluate(DenseRanker(protocol.task, scorer)), choice.as_dict()


def _facts(config: DictConfig, protocol: EvaluationProtocol, name: str) -> dict[str, Any]:
    """What the evaluation of a baseline depends on."""
    settings = OmegaConf.to_container(config.evaluation, resolve=True)
    assert isinstance(settings, dict)
    tuning, versions = settings["tuning"], library_versions()
    return {
        "store": protocol.store.fingerprint,
        "baseline": settings["baselines"][name],
        "tuning": {**tuning, "grid": tuning["grid"].get(name)},
        "libraries": {library: versions.get(library) for library in FITTED_WITH},
        **{key: settings[key] for key in ("period", "filter_seen", "ks", "min_users", "list_k", "slicings")},
    }
