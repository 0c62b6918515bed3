"""Is a poisoned night refused, by what, and does what serves stay as it was?

    python benchmarks/nightly/poisoned_nights.py data=catalogue experiment=catalogue                   # the whole cycle
    python benchmarks/nightly/poisoned_nights.py --command prepare data=catalogue                      # prepare alone

Raw data is laid out as it was on its last nights (`towers.lifecycle.replay`). The first nights are run as they are,
each on the state that the one before has left; then the last one is run once as it is, which has to go well, and once
with each poison, on a copy of that state. A night is refused if it ends with exit code 3 (a rule) or 2 (a mistake
that a line names: data that cannot be prepared, a training whose loss is no number), or says that there is nothing to
publish, and what `exports/current` points to is as before. With `--command prepare` nothing is trained, and a night
is refused if the verdict on its data is `broken`; what is not then needs a rule of the gate.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.data.data_faults import CATALOGUE
from benchmarks.disturbed import copied
from benchmarks.measuring import add_smallest, command_line, write_result
from benchmarks.nightly.poisons import POISONS, Poison
from towers.data.profiling.files import verdict_at
from towers.errors import ExitCode
from towers.lifecycle.replay import Replay

REFUSED = re.compile(r"^refused +(\w+):", re.MULTILINE)
"""A line of the gate."""
NOTHING = "nothing to publish"
"""Begins the line of a night whose data is what serves was made of."""
CLEAN = "nothing"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """Outcome of a night.

    Args:
        code: exit code.
        rules: names of the rules that refused it.
        moved: whether something else serves now.
        words: last line that it told.
        mended: how the same night ended afterwards, with the data as it should have been; null: not asked.
    """

    code: int
    rules: str
    moved: bool
    words: str
    mended: "Ended | None" = None

    @property
    def is_refused(self) -> bool:
        """Returns whether the night was refused and serving did not change."""
        return bool(self.rules) and not self.moved


def served(state: Path) -> str:
    """Returns what `exports/current` points to."""
    current = state / "exports" / "current"
    return str(current.readlink()) if current.is_symlink() else ""


def findings(state: Path) -> tuple[str, str]:
    """Returns the level and the rules of the verdict on a state's newest data, broken ones in capitals."""
    current = next((state / "stores").glob("*/current"), None)
    if current is None:
        return "", ""
    verdict = verdict_at(current.resolve())
    names = {each.rule.upper() if each.severity == "broken" else each.rule for each in verdict.findings}
    return verdict.level, ", ".join(sorted(names))


def run(state: Path, command: str, overrides: list[str]) -> Ended:
    """Runs a night in a state's folder."""
    before = served(state)
    done = subprocess.run(
        [sys.executable, "-m", "towers", command, *overrides, f"data.root={state / 'raw'}"],
        cwd=state, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "300"},
    )  # fmt: skip
    told = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    level, found = findings(state)
    rules = ", ".join(dict.fromkeys(REFUSED.findall(done.stdout + done.stderr)))
    if not rules and done.returncode == ExitCode.CALLER:
        rules = "(told as a mistake)"
    if not rules and done.returncode == 0 and NOTHING in done.stdout:
        rules = f"({NOTHING})"
    if not rules and command == "prepare" and level == "broken":
        rules = found
    words = told[-1].replace(f"{state}/", "") if done.returncode and told else found
    return Ended(code=done.returncode, rules=rules, moved=served(state) != before, words=words)


def poisoned(
    state: Path, raw: Path, trial: Path, poison: Poison, command: str, overrides: list[str], is_mended: bool
) -> Ended:
    """Runs the night with a poison on a copy of the state, and perhaps once more after the data was mended."""
    copied(state, trial, "raw")
    copied(raw, trial / "raw", largest=-1)
    if poison.plant is not None:
        poison.plant(trial / "raw")
    ended = run(trial, command, [*overrides, *poison.overrides])
    if is_mended:
        copied(raw, trial / "raw", largest=-1)
        ended = replace(ended, mended=run(trial, command, overrides))
    shutil.rmtree(trial)
    return ended


def main() -> None:
    """Runs the nights and prints the table; ends with 1 where a poison got through or a clean night did not."""
    parser = command_line(__doc__)
    parser.add_argument("--data", type=Path, default=CATALOGUE, help="folder of a raw data set")
    parser.add_argument("--command", default="retrain", help="that is a night: retrain, or prepare")
    parser.add_argument("--nights", type=int, default=2, help="number of the poisoned night; those before are run")
    parser.add_argument("--poison", action="append", metavar="TEXT", help="those with this in their names; repeatable")
    parser.add_argument("--mended", action="store_true", help="run each night once more, with the data mended")
    parser.add_argument("--work", type=Path, help="folder that stays; by default one that goes")
    parser.add_argument("overrides", nargs="*", help="of the command")
    add_smallest(parser, nights=1, poison=["half of today"])
    args = parser.parse_args()
    names = [name for name in POISONS if args.poison is None or any(words in name for words in args.poison)]
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="towers-") as temporary:
        work = (args.work or Path(temporary)).resolve()
        replay, state = Replay(args.data, work / "replay", args.nights), work / "state"
        state.mkdir(parents=True, exist_ok=True)
        for night in range(args.nights):
            replay.advance(night)
            copied(replay.raw, state / "raw", largest=-1)
            ended = run(state, args.command, args.overrides)
            if ended.code:
                sys.exit(f"night {night} as it is ended with {ended.code}: {ended.words}")
        replay.advance(args.nights)
        for name, poison in {CLEAN: Poison(kind=CLEAN), **{name: POISONS[name] for name in names}}.items():
            ended = poisoned(state, replay.raw, work / "trial", poison, args.command, args.overrides, args.mended)
            rows[name] = {"kind": poison.kind, "code": ended.code, "rules": ended.rules, "moved": ended.moved,
                          "refused": ended.is_refused, "words": ended.words,
                          "mended": None if ended.mended is None else ended.mended.rules or "went well"}  # fmt: skip
            print(f"{name}: {rows[name]}", file=sys.stderr)
    table = Table("planted", "exit code", "refused by", "current", "told", "and mended")
    for name, row in rows.items():
        moved = "moved" if row["moved"] else "as before"
        table.add_row(name, str(row["code"]), row["rules"] or "NOTHING", moved, row["words"], row["mended"] or "–")
    Console(width=180).print(table)
    through = [name for name, row in rows.items() if name != CLEAN and not row["refused"]]
    clean = rows[CLEAN]
    is_clean_well = not clean["code"] and not clean["rules"]
    print(f"{len(rows) - 1 - len(through)} of {len(rows) - 1} poisons refused; not: {through or 'none'}; "
          f"the night as it is {'went well' if is_clean_well else 'was REFUSED'}")  # fmt: skip
    write_result(args, "poisoned_nights", {"command": args.command, "overrides": args.overrides, "nights": rows})
    if args.command != "prepare" and (through or not is_clean_well):
        sys.exit(1)


if __name__ == "__main__":
    main()
