"""`towers profile`: what a prepared store holds, and what is unlike the version before."""

import time
from pathlib import Path

from omegaconf import DictConfig

from towers.config.instantiate import instantiate, value
from towers.config.overrides import raw_list
from towers.data.profiling.comparing import judged
from towers.data.profiling.files import located, profile_at, write_profile
from towers.data.profiling.lines import lines, verdict_lines
from towers.data.profiling.thresholds import Thresholds
from towers.data.profiling.verdict import Verdict
from towers.data.store import Store
from towers.errors import UserError
from towers.evaluation.report.profile_page import FILE, write_profile_page
from towers.manifest import write_json


def run(config: DictConfig) -> Verdict:
    """Prints the profile of the current store, or of the second of two, and the verdict on it, which it returns."""
    root = Path(value(config, "paths.stores", str)) / value(config, "data.name", str)
    thresholds: Thresholds = instantiate(config.profiling, "profiling")
    output = value(config, "output", str | None)
    given = raw_list("compare", config.compare)
    if given is None:
        store = Store.open(root)
        profile, verdict = write_profile(store, None, thresholds)
        page = store.folder / FILE
        if not page.exists():
            write_profile_page(profile, verdict, page, root.name)
        told = [f"profile       {page}"]
    else:
        if len(given) != 2:
            raise UserError(f"compare={','.join(given)}: give two, as compare=[A,B]")
        before, profile = (profile_at(located(each, root)) for each in given)
        verdict = judged(before, profile, thresholds, time.time_ns() // 1_000)
        told = []
    counts = profile.counts
    print(
        f"{profile.store}: {counts['events']:,} events of {counts['users_with_events']:,} listeners with "
        f"{counts['with_events']:,} contents"
    )
    for line in [*lines(profile), *verdict_lines(verdict), *told]:
        print(line)
    if output is not None:
        write_json(Path(output), {**profile.to_json(), "verdict": verdict.to_json()})
        print(f"wrote {output}")
    return verdict
