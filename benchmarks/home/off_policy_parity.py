"""Are our off-policy estimates those of Open Bandit Pipeline (`obp` 0.5.7), on its own samples?

    PYTHON=python3.10 scripts/peers benchmarks/peers/obp.txt .venv-peers-obp
    python benchmarks/home/off_policy_parity.py

`obp` computes, in its environment, what it thinks of the small sample of the Open Bandit Dataset that it ships (three
campaigns, each of its two policies judged by the log of the other) and of invented slates; ours gets the same rows and
the same predictions. Prints the largest difference of each estimator, and what the home page's gate says of each case
of the sample: where a few weights decide, it must refuse.

`--cases` reads a folder that `peers/obp_estimates.py` has written, instead of asking `obp` again.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from benchmarks.apart import OBP
from benchmarks.measuring import add_smallest, command_line, write_result
from towers.config.instantiate import instantiate
from towers.config.keys import CONFIG_DIR
from towers.evaluation.off_policy.estimators import (
    Terms,
    direct,
    doubly_robust,
    ips,
    snips,
    switch_doubly_robust,
)
from towers.evaluation.off_policy.judge import OffPolicyResult
from towers.evaluation.off_policy.log import LoggedBandit, Slates
from towers.lifecycle.gate.verdict import Verdict
from towers.lifecycle.home_gate.gate import HomeEvidence, judge

OF_OBP = "obp/"
CLIP = 10.0
"""Same as in `peers/obp_estimates.py`."""
OURS: dict[str, Callable[[Slates], Terms]] = {
    "ips": ips,
    "clipped_ips": lambda slates: ips(slates, clip=CLIP),
    "snips": snips,
    "direct": direct,
    "dr": doubly_robust,
    "switch_dr": lambda slates: switch_doubly_robust(slates, CLIP),
    "ips/slate": lambda slates: ips(slates, "slate"),
    "ips/slot": lambda slates: ips(slates, "slot"),
    "ips/cascade": lambda slates: ips(slates, "cascade"),
    "snips/slate": lambda slates: snips(slates, "slate"),
    "snips/slot": lambda slates: snips(slates, "slot"),
    "snips/cascade": lambda slates: snips(slates, "cascade"),
}
WITHOUT_GUARDS = ("skips", "kinds", "new_cards")
"""Rules that need what the sample does not have."""


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--rounds", type=int, default=2_000, help="invented slates")
    parser.add_argument("--cases", type=Path, help="a folder of cases that is there")
    add_smallest(parser, rounds=50)
    arguments = parser.parse_args()
    if arguments.cases is not None:
        return report(arguments, arguments.cases)
    if not OBP.is_installed:
        print(f"no environment {OBP.name}: {OBP.makes}")
        return None
    with tempfile.TemporaryDirectory() as folder:
        OBP.output_of("obp_estimates.py", folder, "--rounds", arguments.rounds)
        return report(arguments, Path(folder))


def report(arguments: argparse.Namespace, folder: Path) -> None:
    """Compares every case, and prints and keeps what came of it."""
    found = {path.stem: compared(path) for path in sorted(folder.glob("*.npz"))}
    table = Table("case", "estimator", "obp", "ours", "difference")
    for case, figures in found.items():
        for name, (theirs, ours) in figures["estimates"].items():
            table.add_row(case, name, f"{theirs:.9f}", f"{ours:.9f}", f"{abs(theirs - ours):.1e}")
    Console(width=120).print(table)
    largest = max(abs(one - other) for figures in found.values() for one, other in figures["estimates"].values())
    print(f"largest difference: {largest:.1e}")
    for case, figures in found.items():
        if "gate" in figures:
            weights, refused = figures["weights"], ", ".join(figures["gate"]["refused"]) or "no rule"
            print(
                f"{case}: {weights['effective']:.2f} of {weights['requests']:,} effective, the largest weight is "
                f"{weights['largest_share']:.1%} of all; refused by: {refused}"
            )
    write_result(arguments, "off_policy_parity", {"rounds": arguments.rounds, "largest": largest, "cases": found})


def compared(path: Path) -> dict[str, Any]:
    """Both estimates of one case, and of the sample what the gate says."""
    told = np.load(path)
    columns = {name: told[name] for name in told.files if name != "num_slots" and not name.startswith(OF_OBP)}
    log = LoggedBandit(**columns)
    slates = log.slates()
    names = [name.removeprefix(OF_OBP) for name in told.files if name.startswith(OF_OBP)]
    estimates = {name: (float(told[OF_OBP + name]), OURS[name](slates).value) for name in names}
    if int(told["num_slots"]) > 1:
        return {"estimates": estimates}
    result, verdict = gated(log)
    worst = result.worst
    weights = {"requests": worst.requests, "effective": worst.effective, "largest_share": worst.largest_share}
    return {"estimates": estimates, "weights": weights, "gate": verdict.to_json()}


def gated(log: LoggedBandit) -> tuple[OffPolicyResult, Verdict]:
    """Returns the outcomes of the default configuration's rules, without those of guardrails."""
    config = OmegaConf.load(f"{CONFIG_DIR}/home_gate/default.yaml")
    result = instantiate(config.judge, "home_gate.judge").judge(log)
    rules = {
        str(name): instantiate(node, f"home_gate.rules.{name}")
        for name, node in config.rules.items()
        if name not in WITHOUT_GUARDS
    }
    return result, judge(HomeEvidence(result=result), rules)


if __name__ == "__main__":
    main()
