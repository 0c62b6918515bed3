"""Policies and worlds of home pages: configuration to objects, with sizes known only from a space or a world."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from towers.config.composing import resolved
from towers.config.instantiate import factory, instantiate, value
from towers.errors import UserError
from towers.manifest import code_versions, digest_of, digest_of_file, library_versions
from towers.policies.bandit.home_cards import HomeCards, chosen_cards
from towers.policies.bandit.policy_file import WritablePolicy
from towers.retrieval.export import Export
from towers.simulation.carousel.catalogue import Space
from towers.simulation.carousel.changes import Change
from towers.simulation.carousel.rounds import Attention
from towers.simulation.carousel.world import Carousel

OWN_FILES = ("cards", "listeners")
"""Keys of a world that name the caller's own files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationPlan:
    """Plan of `towers home action=simulate`.

    Args:
        title: title of the page.
        policies: for each name, a function that makes the policy; the one being tested comes first.
        open_world: opens the world.
        changes: changes of the world.
        attention: rule for which slots the policies are told were seen.
        rounds: number of rounds of each policy and seed.
        listeners: number of listeners of a round.
        seeds: seeds, each of which is a play of all rounds.
        settings: whole configuration as plain values, for the record.
        fingerprint: digest of the settings, files and libraries.
        evaluations: folder of results.
    """

    title: str
    policies: Mapping[str, Callable[[int, int], WritablePolicy]]
    open_world: Callable[[], Carousel]
    changes: tuple[Change, ...]
    attention: Attention
    rounds: int
    listeners: int
    seeds: tuple[int, ...]
    settings: dict[str, Any]
    fingerprint: str
    evaluations: Path


def simulation_plan(config: DictConfig) -> SimulationPlan:
    """Turns the configuration into a plan.

    Raises:
        UserError: an invalid value; the message names its key.
    """
    nodes = {"policy": config.policy} | {f"against.{name}": node for name, node in (config.against or {}).items()}
    policies: dict[str, Callable[[int, int], WritablePolicy]] = {}
    for key, node in nodes.items():
        if node is None:
            continue
        name = key.partition(".")[2] or str(node.get("policy_id"))
        if name in policies:
            raise UserError(f"{key}: {name!r} plays already; give it another name, or {key}=null")
        policies[name] = partial(policy_of, node, key)
    rounds, listeners = (value(config, f"simulation.{key}", int) for key in ("rounds", "listeners"))
    seeds = value(config, "simulation.seeds", tuple[int, ...])
    for key, least in (("rounds", rounds), ("listeners", listeners), ("seeds", len(seeds))):
        if least < 1:
            raise UserError(f"simulation.{key}={config.simulation[key]}: must be at least one")
    changes = {key: instantiate(node, f"change.{key}") for key, node in (config.change or {}).items() if node}
    settings = resolved(config)
    kept = {key: settings[key] for key in ("policy", "against", "world", "change", "simulation")}
    files = {key: config.world.get(key) for key in OWN_FILES}
    digests = {key: digest_of_file(Path(path)) for key, path in files.items() if path and Path(path).is_file()}
    versions = {"libraries": library_versions(), "export": None}
    if config.world.get("_partial_"):
        versions["export"] = Export(Path(config.export)).version
    return SimulationPlan(
        title=f"{next(iter(policies))} on a carousel",
        policies=policies,
        open_world=partial(world_of, config),
        changes=tuple(changes.values()),
        attention=instantiate(config.simulation.attention, "simulation.attention"),
        rounds=rounds,
        listeners=listeners,
        seeds=seeds,
        settings={**kept, **versions, "files": digests, "libraries": code_versions()},
        fingerprint=digest_of({**kept, **versions, "files": digests}),
        evaluations=Path(config.paths.evaluations),
    )


def policy_of(node: Any, key: str, dim: int, segments: int) -> WritablePolicy:
    """Builds the policy that the node at `key` describes.

    Args:
        node: node of the configuration; its `_partial_` parts are given the sizes that follow.
        key: key of the node, for messages.
        dim: dimension of the vectors of listeners and cards.
        segments: number of segments of listeners.

    Raises:
        UserError: as for `instantiate`, or the result is no policy.
    """
    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    made = instantiate(_completed(plain, key, {"dim": dim, "segments": segments}), key)
    if not isinstance(made, WritablePolicy):
        raise UserError(f"{key}._target_: {type(made).__name__} is no policy; choose one by policy=NAME")
    return made


def world_of(config: DictConfig) -> Carousel:
    """Opens the world of the configuration: read from files, synthetic, or made from an export."""
    if not config.world.get("_partial_"):
        made = instantiate(config.world, "world")
    else:
        cards = cards_of(config, Export(Path(config.export)))
        made = factory(config.world, "world")(
            space=Space(
                user_ids=tuple(cards.export.user_ids),
                user_vectors=cards.export.user_vectors,
                card_ids=cards.ids,
                card_vectors=cards.vectors,
                kinds=cards.kinds,
            )
        )
    if not isinstance(made, Carousel):
        raise UserError("world: has no carousel; take world=carousel or world=catalogue")
    return made


def cards_of(config: DictConfig, export: Export, known_ids: tuple[str, ...] = ()) -> HomeCards:
    """Returns the cards of an export's home page.

    Args:
        config: configuration with `cards` and `max_cards`.
        export: opened export.
        known_ids: ids by number, from a policy's file.

    Raises:
        UserError: an invalid file of ids, or an export without a card.
    """
    path = value(config, "cards", str | None)
    return chosen_cards(export, None if path is None else Path(path), value(config, "max_cards", int), known_ids)


def _completed(node: Any, key: str, sizes: Mapping[str, int]) -> Any:
    """Returns a node whose `_partial_` parts have got the sizes that their constructors take, and are no longer
    partial."""
    if not isinstance(node, dict):
        return node
    found = {name: _completed(inner, f"{key}.{name}", sizes) for name, inner in node.items()}
    if found.pop("_partial_", False):
        takes = signature(factory(node, key).target).parameters
        found |= {name: size for name, size in sizes.items() if name in takes and name not in found}
    return found
