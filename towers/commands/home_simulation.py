"""`towers home action=simulate`: plays policies in a world and compares their loss with that of random slates."""

from functools import partial
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from towers.assembly.home import SimulationPlan, simulation_plan
from towers.commands.progress import StageProgress
from towers.lifecycle.home_report.pages import write_simulation_page
from towers.lifecycle.home_report.playing import played
from towers.lifecycle.home_report.tables import simulation_table
from towers.manifest import atomic_file
from towers.simulation.carousel.summary import Played

PAGE, TABLE = "report.html", "table.txt"
TABLE_WIDTH = 120


def simulate(config: DictConfig) -> Path:
    """Plays all policies, unless that is done; prints a table, and writes a page.

    Returns:
        The folder with report.html, all figures in report.json, and table.txt.
    """
    plan = simulation_plan(config)
    target = plan.evaluations / f"home-simulation-{plan.fingerprint[:12]}"
    if (target / TABLE).exists():
        print(f"nothing to simulate: {target} is up to date")
        print((target / TABLE).read_text(), end="")
        return target
    plays = _plays(plan)
    write_simulation_page(plays, {"title": plan.title, **plan.settings}, target / PAGE)
    console = Console(record=True, width=TABLE_WIDTH)
    console.print(simulation_table(plays))
    # table.txt is written last; its presence marks completion.
    with atomic_file(target / TABLE) as temporary:
        temporary.write_text(console.export_text())
    print(f"simulated {len(plan.policies)} policies: {target / PAGE}")
    return target


def _plays(plan: SimulationPlan) -> list[Played]:
    """Plays all policies with all seeds."""
    plays = []
    with StageProgress() as progress:
        progress.update("world", 0, 0)
        world = plan.open_world()
        dim, segments = world.listeners.vectors.shape[1], int(world.listeners.segments.max()) + 1
        progress.update("world", 1, 1, f"{len(world.cards):,} cards, {len(world.listeners):,} listeners")
        for name, make in plan.policies.items():
            for seed in plan.seeds:
                stage = name if len(plan.seeds) == 1 else f"{name}, seed {seed}"
                play = played(
                    name, make(dim, segments), world, plan.attention, rounds=plan.rounds, listeners=plan.listeners,
                    changes=plan.changes, seed=seed, progress=partial(progress.update, stage),
                )  # fmt: skip
                plays.append(play)
    return plays
