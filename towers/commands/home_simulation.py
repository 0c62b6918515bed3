"""`towers home action=simulate`: policies play in a world; what each loses is told beside what random slates lose."""

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from towers.assembly.home import SimulationPlan, simulation_plan
from towers.commands.progress import StageProgress
from towers.lifecycle.home_report.pages import write_simulation_page
from towers.lifecycle.home_report.playing import played
from towers.lifecycle.home_report.tables import simulation_table
from towers.manifest import read_json
from towers.simulation.carousel.summary import Played

PAGE = "report.html"
TABLE_WIDTH = 120


def simulate(config: DictConfig) -> Path:
    """Plays all policies, unless that is done; prints a table, and writes a page.

    Returns:
        The folder with report.html and all figures in report.json.
    """
    plan = simulation_plan(config)
    target = plan.evaluations / f"home-simulation-{plan.fingerprint[:12]}"
    page = target / PAGE
    if page.exists():
        print(f"nothing to simulate: {target} is up to date")
        plays = [Played.of_json(each) for each in read_json(page.with_suffix(".json"))["played"]]
    else:
        plays = _plays(plan)
        write_simulation_page(plays, {"title": plan.title, **plan.settings}, page)
    Console(width=TABLE_WIDTH).print(simulation_table(plays))
    print(f"simulated {len(plan.policies)} policies: {page}")
    return target


def _plays(plan: SimulationPlan) -> list[Played]:
    """All policies on all seeds."""
    plays = []
    with StageProgress() as progress:
        progress.update("world", 0, 0)
        world = plan.open_world()
        dim, segments = world.listeners.vectors.shape[1], int(world.listeners.segments.max()) + 1
        progress.update("world", 1, 1, f"{len(world.cards):,} cards, {len(world.listeners):,} listeners")
        for name, make in plan.policies.items():
            for seed in plan.seeds:
                stage = name if len(plan.seeds) == 1 else f"{name}, seed {seed}"

                def told(done: int, total: int, stage: str = stage) -> None:
                    progress.update(stage, done, total)

                play = played(
                    name, make(dim, segments), world, plan.attention, rounds=plan.rounds, listeners=plan.listeners,
                    changes=plan.changes, seed=seed, progress=told,
                )  # fmt: skip
                plays.append(play)
    return plays
