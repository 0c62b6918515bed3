"""`towers profile`: shows what a prepared store holds, and how it differs from the version before."""

import time
from pathlib import Path

from omegaconf import DictConfig

from towers.config.instantiate import instantiate, value
from towers.config.overrides import raw_list
from towers.data.profiling.comparing import judged
from towers.data.profiling.files import located, profile_at, write_profile
from towers.data.profiling.lines import lines, verdict_lines
from towers.data.profiling.profile import Profile
from towers.data.profiling.thresholds import Thresholds
from towers.data.profiling.verdict import Verdict
from towers.data.store import Store
from towers.errors import UserError
from towers.evaluation.report.profile_page import FILE, write_profile_page
from towers.manifest import write_json


def run(config: DictConfig) -> Verdict:
    """Prints the profile of the current store, or of the second of `compare`, and the verdict; returns the verdict."""
    return profiled(config)[1]


def profiled(config: DictConfig) -> tuple[Profile, Verdict]:
    """Prints the profile and the verdict, and returns both."""
    root = Path(value(config, "paths.stores", str)) / value(config, "data.name", str)
    thresholds: Thresholds = instantiate(config.profiling, "profiling")
    output = value(config, "output", str | None)
    given = raw_list("compare", config.compare)
    profile, verdict = _current(root, thresholds) if given is None else _second(given, root, thresholds)
    counts = profile.counts
    print(
        f"{profile.store}: {counts['events']:,} events of {counts['users_with_events']:,} listeners with "
        f"{counts['with_events']:,} contents"
    )
    for line in [*lines(profile), *verdict_lines(verdict)]:
        print(line)
    if output is not None:
        write_json(Path(output), {**profile.to_json(), "verdict": verdict.to_json()})
        print(f"wrote {output}")
    return profile, verdict


def _current(root: Path, thresholds: Thresholds) -> tuple[Profile, Verdict]:
    """Returns the current version's profile and verdict, and writes them beside it if they are missing."""
    store = Store.open(root)
    profile, verdict = write_profile(store, None, thresholds)
    page = store.folder / FILE
    if not page.exists():
        write_profile_page(profile, verdict, page, root.name)
    return profile, verdict


def _second(given: list[str], root: Path, thresholds: Thresholds) -> tuple[Profile, Verdict]:
    """Returns the profile of the second of two stores, and the verdict on it by comparison with the first."""
    if len(given) != 2:
        raise UserError(f"compare=[{','.join(given)}]: give two stores, as compare=[A,B]")
    before, profile = (profile_at(located(each, root)) for each in given)
    return profile, judged(before, profile, thresholds, time.time_ns() // 1_000)
