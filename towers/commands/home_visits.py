"""`towers home` without real listeners: action=visit simulates visits, action=show prints one listener's page."""

from functools import partial

import numpy as np
import pyarrow as pa
from omegaconf import DictConfig
from rich.console import Console

from towers.assembly.home import cards_of, world_of
from towers.assembly.home_policy import home_plan
from towers.commands.progress import StageProgress
from towers.config.instantiate import value
from towers.config.overrides import raw_text
from towers.errors import UserError
from towers.lifecycle.home.log import read_log
from towers.lifecycle.home.visits import visit
from towers.policies.bandit.home import draw_page
from towers.policies.bandit.home_shown import shelf_table
from towers.policies.bandit.policy_file import open_policy
from towers.retrieval.export import Export
from towers.service.home_log import HomeLog


def visits(config: DictConfig) -> int:
    """Lets invented listeners visit the page of the version that serves, and logs what they do."""
    plan = home_plan(config)
    if plan.log is None:
        raise UserError("log=null: give the folder to log visits in")
    pages, seed = (value(config, f"visits.{key}", int) for key in ("pages", "seed"))
    export = Export(plan.export)
    version = open_policy(plan.folder, export.space_id)
    cards, world = cards_of(config, export, version.card_ids), world_of(config)
    log = HomeLog(plan.log)
    times_us = read_log(plan.log)["timestamp"].cast(pa.int64()).to_numpy()
    first_us = int(times_us[-1]) + 1 if len(times_us) else export.until_us or 0
    with StageProgress() as progress:
        streamed = visit(
            log, cards, world, version, plan.shelves, pages=pages, first_us=first_us,
            days=value(config, "visits.days", float), seed=seed, progress=partial(progress.update, "visits"),
        )  # fmt: skip
    log.close()
    print(f"{pages:,} pages of {version.folder}, {streamed:,} cards streamed: logged in {plan.log}")
    return streamed


def show(config: DictConfig) -> None:
    """Prints a listener's page, drawn by the version that serves; nothing is logged."""
    plan = home_plan(config)
    user_id = raw_text("user", config.user)
    if user_id is None:
        raise UserError("user=null: give the id of a listener of the export")
    export = Export(plan.export)
    version = open_policy(plan.folder, export.space_id)
    cards = cards_of(config, export, version.card_ids)
    user_row, now_us = export.user_row(user_id), export.until_us or 0
    context, candidates = cards.of_listener(user_row, now_us, np.zeros(len(cards.rows)))
    generator = np.random.default_rng([value(config, "visits.seed", int), user_row])
    console = Console()
    for filled in draw_page(version.policy, cards, context, candidates, plan.shelves, generator):
        console.print(shelf_table(cards, filled))
