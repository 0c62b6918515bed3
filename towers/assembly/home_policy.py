"""`towers home` with a log: its configuration to a plan."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from towers.assembly.home import policy_of
from towers.config.composing import resolved
from towers.config.instantiate import instantiate, value
from towers.config.overrides import raw_text
from towers.contract.impressions import IMPRESSION_SCHEMA
from towers.data.store import Store
from towers.errors import UserError
from towers.evaluation.off_policy.judge import OffPolicyJudge
from towers.lifecycle.gate.verdict import Force, force_of
from towers.lifecycle.home.log import read_log
from towers.lifecycle.home.versions import HomeData
from towers.lifecycle.home_gate.gate import HomeRule
from towers.policies.bandit.home import Shelf
from towers.policies.bandit.home_cards import chosen_cards
from towers.policies.bandit.log_outcomes import Attention
from towers.policies.bandit.policy_file import WritablePolicy, versions_of
from towers.policies.bandit.reward import RewardBy
from towers.policies.bandit.store_outcomes import impressions_with_outcomes
from towers.retrieval.export import Export


@dataclass(frozen=True, slots=True, kw_only=True)
class HomePlan:
    """Plan of the actions on a log.

    Args:
        config: configuration of the command.
        folder: folder of the policy, with its versions.
        export: folder of the export.
        log: folder of a log; null: none.
        store: folder of a prepared store, read where `log` is null; null: none.
        reward: rule for the worth of outcomes, not yet completed by the export.
        attention: rule for which slots were seen.
        held_out: share of the log that a version does not learn from.
        keep: number of versions that stay.
        judge: off-policy evaluation of a policy by a log.
        rules: rules of the gate by name; null: switched off.
        force: who publishes in spite of the gate, and why; null: the gate decides.
        shelves: shelves of the page.
        evaluations: folder of results.
        settings: settings that decide a judgement, as plain values.
    """

    config: DictConfig
    folder: Path
    export: Path
    log: Path | None
    store: Path | None
    reward: RewardBy
    attention: Attention
    held_out: float
    keep: int
    judge: OffPolicyJudge
    rules: Mapping[str, HomeRule | None]
    force: Force | None
    shelves: tuple[Shelf, ...]
    evaluations: Path
    settings: dict[str, Any]

    @property
    def log_name(self) -> str:
        """Name of the source that is learned from, for messages."""
        return str(self.log or self.store or "no log")

    def data(self) -> HomeData:
        """Opens the export with its cards, and the log.

        Raises:
            UserError: one of them cannot be opened, or a row of the log is invalid.
        """
        export = Export(self.export)
        path = value(self.config, "cards", str | None)
        cards = chosen_cards(export, None if path is None else Path(path), value(self.config, "max_cards", int))
        if self.log is not None:
            impressions = read_log(self.log)
        elif self.store is not None:
            impressions = impressions_with_outcomes(Store.open(self.store))
        else:
            impressions = IMPRESSION_SCHEMA.empty_table()
        return HomeData(
            export=export,
            card_rows=cards.rows,
            impressions=impressions,
            reward=self.reward.by(export),
            attention=self.attention,
        )

    def policy(self, dim: int) -> WritablePolicy:
        """Builds an untrained policy for vectors of this dimension; an export knows no segments of listeners."""
        return policy_of(self.config.policy, "policy", dim, 0)

    def version(self) -> Path:
        """Returns the folder of the version that is named, or of the newest.

        Raises:
            UserError: there is none.
        """
        there = {path.name: path for path in versions_of(self.folder)}
        if not there:
            raise UserError(f"folder={self.folder}: no policy here; write one by action=train")
        name = raw_text("version", self.config.version) or [*there][-1]
        if name not in there:
            raise UserError(f"version={name}: not in {self.folder}; there are {', '.join(there)}")
        return there[name]


def home_plan(config: DictConfig) -> HomePlan:
    """Turns the configuration into a plan.

    Raises:
        UserError: an invalid value; the message names its key.
    """
    log, store = (value(config, key, str | None) for key in ("log", "store"))
    keep = value(config, "keep", int)
    if keep < 2:
        raise UserError(f"keep={keep}: must be at least 2, so that there is one to roll back to")
    rules = {
        str(name): None if node is None else instantiate(node, f"home_gate.rules.{name}")
        for name, node in config.home_gate.rules.items()
    }
    settings = resolved(config)
    return HomePlan(
        config=config,
        folder=Path(value(config, "folder", str)),
        export=Path(config.export),
        log=None if log is None else Path(log),
        store=None if store is None else Path(store),
        reward=instantiate(config.reward, "reward"),
        attention=instantiate(config.attention, "attention"),
        held_out=value(config, "held_out", float),
        keep=keep,
        judge=instantiate(config.home_gate.judge, "home_gate.judge"),
        rules=rules,
        force=force_of(value(config, "home_gate.force", bool), value(config, "home_gate.why", str | None), "home_gate"),
        shelves=instantiate(config.shelves, "shelves").shelves,
        evaluations=Path(config.paths.evaluations),
        settings={key: settings[key] for key in ("reward", "attention", "held_out", "home_gate")},
    )
