"""The baselines of an evaluation: tuned on validation, fitted, evaluated once for each store and kept."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from towers.commands.progress import StageProgress
from towers.config import instantiate
from towers.errors import UserError
from towers.evaluation.known import Known
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.rankers import DenseRanker, Scorer
from towers.evaluation.result import Evaluation
from towers.evaluation.saved import cached, fingerprint
from towers.evaluation.tuning import Tuning


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
    """
    tuning = instantiate(config.evaluation.tuning, "evaluation.tuning")
    nodes = {str(name): node for name, node in config.evaluation.baselines.items() if node is not None}
    validation = protocol.known if protocol.period == "validation" else Known(protocol.store, "validation")
    evaluations, choices = [], {}
    with StageProgress() as progress:
        for done, (name, node) in enumerate(nodes.items()):
            progress.update("baselines", done, len(nodes))
            try:
                key = fingerprint(_facts(config, protocol, name))
                evaluation, choice = cached(
                    kept, key, lambda name=name, node=node: _evaluated(name, node, tuning, protocol, validation)
                )
            except ValueError as error:
                raise UserError(f"evaluation.baselines.{name}: {error}") from error
            except UserError as error:
                print(f"left out of the table: {error} (evaluation.baselines.{name}=null says so beforehand)")
                continue
            evaluations.append(evaluation)
            choices[evaluation.ranker] = choice
        progress.update("baselines", len(nodes), len(nodes))
    return evaluations, choices


def _evaluated(
    name: str, node: DictConfig, tuning: Tuning, protocol: EvaluationProtocol, validation: Known
) -> tuple[Evaluation, dict[str, Any]]:
    scorer, choice = tuning.fit(
        name,
        _build(name, node),
        protocol.known,
        validation,
        filter_seen=protocol.filter_seen,
        min_users=protocol.min_users,
    )
    return protocol.evaluate(DenseRanker(protocol.task, scorer)), choice.as_dict()


def _build(name: str, node: DictConfig) -> Callable[[Mapping[str, Any]], Callable[..., Scorer]]:
    return lambda settings: instantiate(OmegaConf.merge(node, dict(settings)), f"evaluation.baselines.{name}")


def _facts(config: DictConfig, protocol: EvaluationProtocol, name: str) -> dict[str, Any]:
    """What the evaluation of a baseline depends on."""
    settings = OmegaConf.to_container(config.evaluation, resolve=True)
    assert isinstance(settings, dict)
    tuning = settings["tuning"]
    return {
        "store": protocol.store.fingerprint,
        "baseline": settings["baselines"][name],
        "tuning": {**tuning, "grid": tuning["grid"].get(name)},
        "slicings": settings["slicings"],
        **{key: settings[key] for key in ("period", "filter_seen", "ks", "min_users", "list_k")},
    }
