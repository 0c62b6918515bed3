"""The baselines of an evaluation: tuned on validation, fitted, evaluated once for each store, and cached.

A choice that the time budget cut short depends on the machine's load, so that baseline is not cached.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from towers.config.instantiate import instantiate
from towers.errors import DataLacks, UserError
from towers.evaluation.choice import is_complete
from towers.evaluation.known import Known
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.ranking.choosing import ranker_of
from towers.evaluation.ranking.rankers import Scorer
from towers.evaluation.result import Evaluation
from towers.evaluation.saved import cached, fingerprint
from towers.evaluation.tuning import Budget, Build, Tuning
from towers.manifest import library_versions

FITTED_WITH = ("numpy", "scipy", "implicit")
"""Libraries whose version may change the result of a baseline."""


def evaluate_baselines(
    builds: Mapping[str, Build],
    tuning: Tuning,
    settings: Mapping[str, Any],
    protocol: EvaluationProtocol,
    kept: Path,
    on_progress: Callable[[str, int, int], None],
) -> tuple[list[Evaluation], dict[str, Any]]:
    """Evaluates all baselines in order; those that this data does not allow are named and left out.

    Args:
        builds: for each name, a function that makes the baseline from settings.
        tuning: tuning of their settings on validation.
        settings: settings of the whole evaluation as plain values; part of a cached result's key.
        protocol: protocol of the evaluation.
        kept: folder of cached evaluations.
        on_progress: called with the stage, how far it is, and of how much.

    Returns:
        The evaluations, and for each ranker what tuning tried and chose.
    """
    validation = protocol.known if protocol.period == "validation" else Known(protocol.store, "validation")
    evaluations, choices, budget = [], {}, tuning.budget()
    names = list(builds)
    for done, (name, build) in enumerate(builds.items()):
        on_progress("baselines", done, len(builds))
        try:
            key = fingerprint(_facts(settings, protocol, name))
            to_come = sum(bool(tuning.settings_of(other)) for other in names[done:])
            compute = partial(_evaluated, name, build, tuning, protocol, validation, budget, to_come)
            evaluation, choice = cached(kept, key, compute, protocol.store.fingerprint, is_complete)
        except DataLacks as error:
            print(f"left out of the table: {error} (evaluation.baselines.{name}=null says so beforehand)")
            continue
        for line in _cut_short(name, choice):
            print(line)
        evaluations.append(evaluation)
        choices[evaluation.ranker] = choice
    on_progress("baselines", len(builds), len(builds))
    return evaluations, choices


def baselines_of(baselines: DictConfig | None, tuning: Tuning) -> dict[str, Build]:
    """Returns, for each name in the node `evaluation.baselines`, a function that makes the baseline from settings.

    Raises:
        UserError: an invalid setting, written or in the grid, or a grid for a baseline that does not exist.
    """
    nodes = baselines or {}
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
    name: str,
    build: Build,
    tuning: Tuning,
    protocol: EvaluationProtocol,
    validation: Known,
    budget: Budget,
    to_come: int,
) -> tuple[Evaluation, dict[str, Any]]:
    scorer, choice = tuning.fit(
        name,
        build,
        protocol.known,
        validation,
        filter_seen=protocol.filter_seen,
        min_users=protocol.min_users,
        max_seconds=budget.share(to_come),
    )
    budget.spend(choice.core_seconds.tuning)
    began = time.process_time()
    evaluation = protocol.evaluate(ranker_of(protocol.task, scorer))
    cost = replace(choice.core_seconds, ranking=time.process_time() - began)
    return evaluation, replace(choice, core_seconds=cost).as_dict()


def _cut_short(name: str, choice: Mapping[str, Any]) -> list[str]:
    """Returns lines on what the budget of the tuning did not suffice for."""
    lines, left_out, listeners = [], len(choice["left_out"]), choice["listeners_left_out"]
    if left_out:
        lines.append(f"{left_out} of {len(choice['trials']) + left_out} settings not tried")
    if listeners:
        lines.append(f"the closest settings not judged by {listeners:,} more listeners")
    return [f"{name}: {line}, for evaluation.tuning.max_seconds" for line in lines]


def _facts(settings: Mapping[str, Any], protocol: EvaluationProtocol, name: str) -> dict[str, Any]:
    """Returns all that the evaluation of a baseline depends on."""
    tuning, versions = settings["tuning"], library_versions()
    return {
        "store": protocol.store.fingerprint,
        "baseline": settings["baselines"][name],
        "tuning": {**tuning, "grid": tuning["grid"].get(name)},
        "libraries": {library: versions.get(library) for library in FITTED_WITH},
        **{key: settings[key] for key in ("period", "filter_seen", "ks", "min_users", "list_k", "slicings")},
    }
