"""Does a night of `towers retrain` that is killed, fails anywhere or finds the disk full leave anything half-done?

    python benchmarks/nightly/killed_nights.py  # 100 kills, every 7th call of the file system, full disks
    python benchmarks/nightly/killed_nights.py --every 1 --kills 0   # every call

A small world is laid out night by night; the first nights are left alone, and so is the last one, twice: what differs
between the two (times of day) is not compared. Then the last night is run again and again on a copy of what was there
before it, each time disturbed in another way:

- killed (SIGKILL) at a moment drawn evenly from nought to a little more than a whole night takes;
- at one call that changes the file system the process ends at once, or the call finds no space or a broken disk
  (every `--every`-th call is tried, each in these three ways);
- on a disk of its own that is full after so many bytes (needs the right to mount);
- started twice at the same moment, where the second start leaves, and where it waits.

After each disturbance `exports/current` must open and verify, every version that was there and is not pruned must be
there,
byte for byte, and every record of the ledger must read. Then the same command must end well and leave the files of the
night that was not disturbed, byte for byte, and none beside them.
"""

import importlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import yaml

from benchmarks.disturbed import copied, different, disk, ended, failing, files_of, killed_after, started, watched
from benchmarks.graphs import traced_once
from benchmarks.measuring import add_smallest, command_line, write_result
from tests.conftest import TINY_WORLD
from towers.cli import main as towers
from towers.config.keys import CONFIG_DIR
from towers.lifecycle.ledger import Ledger
from towers.lifecycle.replay import Replay
from towers.retrieval.export import Export
from towers.retrieval.verify import problems
from towers.simulation.world import World


def rules() -> list[str]:
    """Names of the gate's rules."""
    return list(yaml.safe_load((Path(CONFIG_DIR) / "gate" / "default.yaml").read_text())["rules"])


JUDGED = (
    "same_window", "unseen_window", "honest", "finite", "counts", "vanished", "norms", "index_recall", "onnx_parity",
)  # fmt: skip
"""Rules of the gate that a world this small can keep; the others ask how good a network is."""
SMALL = (
    "data=parquet", "data.name=tiny", "data.max_duplicate_fraction=1", "night_split.days=5", "audio_encoder=none",
    "placement=none", "content_tower.dim=16", "user_tower.dim=16", "user_tower.num_layers=1", "trainer.max_epochs=2",
    "trainer.progress=false", "logger=csv", "evaluation.min_users=1", "evaluation.tuning.max_trials=0",
    "export.variants=[]", "canaries.server=false", "headroom.stores=0", "headroom.runs=0", "headroom.exports=0",
    "headroom.spare_gb=0", "features.spectrogram.record_s=1.0",
    *(f"gate.rules.{name}=null" for name in rules() if name not in JUDGED),
)  # fmt: skip
NIGHTS = 3
"""Left alone before the one that is disturbed, which is the first that prunes."""
STEP_OF_DISKS = 12
"""Sizes of disks that are tried, from one that holds nothing more to one that holds the whole night."""


class Nights:
    """A night that can be run again and again from the same state, always in the same folder.

    Everything is done in processes of their own, so that this one has no threads when it forks.

    Args:
        work: folder for all of it.
        overrides: of `towers retrain`, beside those of the small world.
    """

    def __init__(self, work: Path, overrides: list[str]):
        self.folder, self._work, self._overrides = work / "night", work, overrides
        self._before, self._told, self._graphs = work / "before", work / "told.txt", work / "graphs"
        for folder in (self.folder, self._graphs):
            folder.mkdir(parents=True)
        os.environ["OMP_NUM_THREADS"] = "1"
        for module in ("night", "retrain"):  # imported once, for all processes that follow
            importlib.import_module(f"towers.commands.{module}")
        self._done(lambda: World(**TINY_WORLD).write(work / "world"))
        for number in range(NIGHTS + 1):
            copied(self.folder, self._before)
            self._done(lambda number=number: self._replay(number))
            self._done(self.run)
        self._old, self._expected = files_of(self._before), files_of(self.folder)
        self.again()
        start = time.perf_counter()  # with the graphs that the night before has kept, as the disturbed ones have them
        self._done(self.run)
        self.whole_s = time.perf_counter() - start
        self.noise = {*different(self._expected, files_of(self.folder))}

    def run(self, *overrides: str) -> int:
        """Runs the night in this process; returns its exit code."""
        os.chdir(self.folder)
        with traced_once(self._graphs):
            return towers(
                ["retrain", *SMALL, f"data.root={self._work / 'replay' / 'raw'}", *self._overrides, *overrides]
            )

    def again(self) -> None:
        """Puts everything back to where it was before the night."""
        for path in self.folder.iterdir():  # the folder itself may be a disk
            shutil.rmtree(path)
        for path in self._before.iterdir():
            copied(path, self.folder / path.name)

    def started(self, work: Callable[[], int | None], number: int = 0) -> int:
        """Starts work in a process of its own."""
        return started(work, self._told.with_suffix(f".{number}"))

    def told(self, number: int = 0) -> str:
        """Returns what the process of that number printed."""
        return self._told.with_suffix(f".{number}").read_text()

    def calls(self) -> list[str]:
        """The calls of an undisturbed night that change its folder."""
        self.again()
        listed = self._work / "calls.txt"
        listed.unlink(missing_ok=True)
        file = os.open(listed, os.O_WRONLY | os.O_CREAT)

        def counted() -> int:
            with watched(self.folder, lambda at, name, path: os.write(file, f"{name} {path}\n".encode()) and None):
                return self.run()

        self._done(counted)
        os.close(file)
        return [line.replace(f"{self.folder}/", "") for line in listed.read_text().splitlines()]

    def faulty(self, number: int, fault: str) -> int:
        """Runs the night with one call that fails."""
        with watched(self.folder, failing(number, fault)):
            return self.run()

    def wrong_now(self) -> list[str]:
        """Returns violations of what must hold at any moment."""
        return self._asked(self._wrong)

    def wrong_in_the_end(self) -> list[str]:
        """Starts the night once more; says what is not as it has to be after it."""
        if code := ended(self.started(self.run)):
            return [f"the same command ends with {code}: {_last_line(self.told())}"]
        found = files_of(self.folder)
        beside = [name for name in different(self._expected, found) if name not in self.noise]
        return [*self.wrong_now(), *(f"{name} is not that of an undisturbed night" for name in beside)]

    def _wrong(self) -> Iterator[str]:
        exports = self.folder / "exports"
        export = Export(exports / "current")
        yield from problems(export, 0.0)
        found, served = files_of(exports), str((exports / "current").readlink())
        before = self._old["exports/current"].decode()
        for name in {Path(path).parts[1] for path in self._old if path.startswith("exports/")} - {"current"}:
            is_kept = f"exports/{name}/manifest.json" in self._expected
            if not is_kept and served != before and not (exports / name).exists():
                continue  # pruned
            old = {path: text for path, text in self._old.items() if path.startswith(f"exports/{name}/")}
            now = {f"exports/{path}": text for path, text in found.items() if path.startswith(f"{name}/")}
            yield from (f"{path} is lost or changed" for path in different(old, now))
        ledger = Ledger(folder=self.folder / "nights" / "tiny", exports=exports, runs=self.folder / "runs")
        champions = [entry.record.version for entry in ledger.entries() if entry.state == "champion"]
        if champions != [export.version]:
            yield f"the ledger has {champions} serve, and current leads to {export.version}"

    def _asked(self, ask: Callable[[], Iterator[str]]) -> list[str]:
        """Asks in a process of its own; an error is an answer, too."""
        process = self.started(lambda: print("\n".join(ask())), 9)
        code, lines = ended(process), [line for line in self.told(9).splitlines() if line]
        return lines[-1:] if code else lines

    def _done(self, work: Callable[[], object]) -> None:
        code = ended(self.started(lambda: int(work() or 0)))
        if code:
            sys.exit(f"a night that is not disturbed ended with {code}:\n{self.told()[-3_000:]}")

    def _replay(self, number: int) -> None:
        Replay(self._work / "world", self._work / "replay", NIGHTS).advance(number)


def _last_line(told: str) -> str:
    return (told.strip().splitlines() or ["nothing told"])[-1]


def kills(nights: Nights, number: int, seed: int) -> tuple[list[str], Counter[str]]:
    """Kills nights at random moments."""
    moments, wrong, ends = random.Random(seed), [], Counter[str]()
    for at in range(number):
        nights.again()
        seconds = moments.uniform(0, 1.1 * nights.whole_s)
        ends["killed" if killed_after(nights.started(nights.run), seconds) else "quicker"] += 1
        found = [*nights.wrong_now(), *nights.wrong_in_the_end()]
        wrong += [f"killed after {seconds:.2f} s: {line}" for line in found]
        _on(f"kill {at + 1} of {number}", wrong)
    return wrong, ends


def faults(nights: Nights, every: int, ways: list[str]) -> tuple[list[str], Counter[str]]:
    """Lets calls of the file system fail."""
    calls, wrong, ends = nights.calls(), [], Counter[str]()
    print(
        f"\r{len(calls)} calls change the file system: {dict(Counter(call.split()[0] for call in calls))}", flush=True
    )
    for at in range(0, len(calls), every):
        for fault in ways:
            nights.again()
            code = ended(nights.started(partial(nights.faulty, at, fault)))
            said = _last_line(nights.told())
            found = nights.wrong_now()
            if code == 1:
                found.append(f"ends with 1: {said}")
            ends[f"{fault}: {code}"] += 1
            found += nights.wrong_in_the_end()
            wrong += [f"{fault} at call {at} ({calls[at]}): {line}" for line in found]
        _on(f"call {at} of {len(calls)}", wrong)
    return wrong, ends


def full_disks(nights: Nights, steps: int) -> tuple[list[str], Counter[str]]:
    """Runs nights on disks that are too small."""
    wrong, ends = [], Counter[str]()
    shutil.rmtree(nights.folder)
    nights.folder.mkdir()
    with disk(nights.folder, 1 << 30) as resized:
        nights.again()
        used = _used(nights.folder)
        assert ended(nights.started(nights.run)) == 0, nights.told()
        grown = 2 * (_used(nights.folder) - used)
        for step in range(steps):
            resized(1 << 30)
            nights.again()
            resized(used + grown * step // steps)
            code = ended(nights.started(nights.run))
            said = _last_line(nights.told())
            found = nights.wrong_now()
            if code and (code != 2 or "no space left on the disk" not in said):
                found.append(f"ends with {code}: {said}")
            ends[f"full: {code}"] += 1
            resized(1 << 30)
            wrong += [f"disk of {used} + {grown * step // steps} bytes: {line}"
                      for line in [*found, *nights.wrong_in_the_end()]]  # fmt: skip
            _on(f"disk {step + 1} of {steps}", wrong)
    return wrong, ends


def two_starts(nights: Nights, number: int, seed: int) -> tuple[list[str], Counter[str]]:
    """Starts two nights at once."""
    moments, wrong, ends = random.Random(seed), [], Counter[str]()
    for at in range(number):
        for waits in ("false", "true"):
            nights.again()
            first = nights.started(partial(nights.run, f"wait={waits}"), 1)
            time.sleep(moments.choice([0.0, moments.uniform(0, nights.whole_s)]))
            second = nights.started(partial(nights.run, f"wait={waits}"), 2)
            codes, told = [ended(first), ended(second)], nights.told(1) + nights.told(2)
            what = "left" if "nothing was done" in told else "waited" if "waiting for" in told else "came later"
            ends[what] += 1
            found = [] if codes == [0, 0] else [f"two starts end with {codes}: {_last_line(told)}"]
            wrong += [f"two starts, wait={waits}: {line}" for line in [*found, *nights.wrong_in_the_end()]]
        _on(f"two starts {at + 1} of {number}", wrong)
    return wrong, ends


def _used(folder: Path) -> int:
    usage = os.statvfs(folder)
    return (usage.f_blocks - usage.f_bfree) * usage.f_frsize


def _on(where: str, wrong: list[str]) -> None:
    print(f"\r{where}, {len(wrong)} wrong ", end="", flush=True)


def main() -> None:
    """Disturbs nights; ends with 1 where anything was not as it has to be."""
    parser = command_line(__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--every", type=int, default=7, help="so manieth call fails; 0: none")
    parser.add_argument("--faults", nargs="+", default=["exit", "ENOSPC", "EIO"], help="ways to fail")
    parser.add_argument("--disks", type=int, default=STEP_OF_DISKS, help="sizes of disks; 0: none")
    parser.add_argument("--starts", type=int, default=3, help="pairs of starts at once, each in two ways")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder that stays; by default one that goes")
    parser.add_argument("overrides", nargs="*", help="of towers retrain")
    add_smallest(parser, kills=1, every=0, disks=0, starts=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="towers-") as temporary:
        nights = Nights((arguments.work or Path(temporary)).resolve(), arguments.overrides)
        print(
            f"a night takes {nights.whole_s:.1f} s; not compared, as two nights differ in them: {nights.noise}",
            flush=True,
        )
        tried: dict[str, tuple[list[str], Counter[str]]] = {"kills": kills(nights, arguments.kills, arguments.seed)}
        if arguments.every:
            tried["faults"] = faults(nights, arguments.every, arguments.faults)
        if arguments.disks:
            tried["full disks"] = full_disks(nights, arguments.disks)
        if arguments.starts:
            tried["two starts"] = two_starts(nights, arguments.starts, arguments.seed)
        whole_s = nights.whole_s
    for name, (wrong, ends) in tried.items():
        print(f"\r{name}: {sum(ends.values())} nights ({', '.join(f'{end} {count}' for end, count in ends.items())}), "
              f"{len(wrong)} wrong")  # fmt: skip
        print("\n".join(wrong[:40]))
    figures = {name: {"ends": dict(ends), "wrong": wrong} for name, (wrong, ends) in tried.items()}
    write_result(arguments, "killed_nights", {"seed": arguments.seed, "night_s": whole_s, "tried": figures})
    if any(wrong for wrong, _ in tried.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
