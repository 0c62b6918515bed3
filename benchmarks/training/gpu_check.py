"""Measures what only a card can show, in one command of at most eight minutes, with one table at its end.

    scripts/gpu_check                        # where there is a CUDA device
    scripts/gpu_check --output FILE.json     # the figures into a file of your own
    scripts/gpu_check --cpu                  # the same stages, small, on the processor: a check of the check

The tests marked gpu; tokens a second, share of the best matrix product and peak of memory, for the demo's model and
for one that fills a card; and what the demo's training comes to in bfloat16 and in float32. Every stage is a process of
its own with a limit of time. One that fails or is too slow has a row in the table that says so, the others go on, and
the exit code is 1. Nothing is fetched: PYTHON names an interpreter with torch and the package's requirements.

    scripts/gpu_check --cpu --full --patience 20 --only world bfloat16 float32   # bfloat16's quality, without a card
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

# What this repository and its requirements bring is imported in functions, so that what is lacking can be told first.
ROOT = Path(__file__).parents[2]
LIMIT_S = 480.0
NEEDED = (
    "beartype", "duckdb", "hydra-core", "hypothesis", "jaxtyping", "jinja2", "matplotlib", "numpy", "onnxruntime",
    "pyarrow", "pytest", "pytorch-lightning", "pyyaml", "rich", "scipy", "soundfile", "soxr",
    "threadpoolctl", "torch", "torchaudio",
)  # fmt: skip
"""Packages that the stages import, a subset of the package's requirements."""
PRECISIONS = ("bfloat16", "float32")
METRICS = ("ndcg@20", "recall@20")
SMALL_WORLD = (
    "world.num_tracks=40", "world.num_episodes=8", "world.num_listeners=40", "world.clip_duration_s=1.0",
)  # fmt: skip
SMALL_FEATURES = ("features.spectrogram.record_s=1.0",)
SMALL_TRAINING = (
    "datamodule.crop_s=0.5", "datamodule.max_length=30", "datamodule.max_tokens=1024", "user_tower.num_layers=1",
    "evaluation.min_users=2", "trainer.max_epochs=2", "trainer.validate_every_epochs=1",
)  # fmt: skip
LARGE = ("user_tower.dim=512", "user_tower.num_layers=8", "user_tower.num_heads=8", "content_tower.dim=256",
         "datamodule.max_tokens=131072")  # fmt: skip
LARGE_ON_CPU = ("user_tower.dim=128", "user_tower.num_layers=2", "datamodule.max_tokens=2048")


class Stage(NamedTuple):
    """A stage, run in a process of its own: name, limit in seconds, and the function that returns its figures."""

    name: str
    limit_s: float
    run: Callable[[Path, argparse.Namespace], dict[str, Any]]


class Outcome(NamedTuple):
    """Outcome of a stage: its figures (empty if it failed), the reason of a failure, and its seconds."""

    figures: dict[str, Any]
    failure: str
    seconds: float


def places(work: Path) -> list[str]:
    return [f"paths.{kind}={work / kind}" for kind in ("stores", "runs", "worlds")]


def settings(work: Path, arguments: argparse.Namespace, *others: str) -> list[str]:
    """Returns the overrides for a training of the demo, without the placing of contents after it."""
    small = () if arguments.full else SMALL_TRAINING
    device = f"trainer.accelerator={'cpu' if arguments.cpu else 'gpu'}"
    return ["experiment=demo", device, "trainer.progress=false", "placement=none", *places(work), *small, *others]


def tests(work: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Runs the tests marked gpu."""
    files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text()]
    report = work / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", f"--junitxml={report}"]
    subprocess.run([*command, *map(str, files)], cwd=ROOT, check=False)
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - failed - counts["skipped"]
    if failed or not (passed or arguments.cpu):
        raise SystemExit(f"{passed} passed, {failed} failed, {counts['skipped']} skipped")
    return {"passed": passed, "skipped": counts["skipped"]}


def world(work: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """The demo's, made and prepared."""
    from towers.commands import prepare
    from towers.config.composing import compose
    from towers.config.instantiate import instantiate

    config = compose("demo", [*places(work), *(() if arguments.full else SMALL_WORLD)])
    instantiate(config.world, "world").write(Path(config.data.root))
    prepare.run(compose("prepare", ["experiment=demo", *places(work), *(() if arguments.full else SMALL_FEATURES)]))
    return {}


def training(precision: str) -> Stage:
    """The demo's in a precision, once a seed: metrics of the last validation, and seconds."""

    def run(work: Path, arguments: argparse.Namespace) -> dict[str, Any]:
        from towers.commands import train
        from towers.config.composing import compose
        from towers.manifest import read_json

        found = []
        for seed in arguments.seeds:
            given = settings(work, arguments, f"name={precision}", f"trainer.precision={precision}", f"seed={seed}")
            finished = read_json(train.run(compose("train", given)) / "finished.json")
            metrics = {name: finished["metrics"][f"validation/{name}"] for name in METRICS}
            found.append({"seed": seed, "seconds": finished["seconds"], "steps": finished["steps"], **metrics})
        return {"runs": found}

    return Stage(precision, 75.0, run)


def throughput(name: str, precision: str) -> Stage:
    """Steps of the demo's model, or of a large one."""

    def run(work: Path, arguments: argparse.Namespace) -> dict[str, Any]:
        from benchmarks.training.throughput import measured

        size = () if name == "demo" else LARGE if arguments.full else LARGE_ON_CPU
        given = settings(work, arguments, *size, f"name=speed-{name}", f"trainer.precision={precision}")
        return measured(arguments.steps, arguments.square, given)

    return Stage(f"{name}, {precision}", 45.0, run)


STAGES = (
    Stage("tests marked gpu", 150.0, tests),
    Stage("world", 120.0, world),
    *(training(precision) for precision in PRECISIONS),
    throughput("demo", "bfloat16"),
    *(throughput("large", precision) for precision in PRECISIONS),
)


def lacking() -> list[str]:
    """Requirements that this interpreter does not have."""
    return [name for name in NEEDED if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def run_apart(stage: Stage, work: Path, limit_s: float, given: Sequence[str]) -> Outcome:
    """Runs a stage in a process of its own, which is ended with all its children where it takes too long."""
    from towers.manifest import read_json

    started, place = time.monotonic(), work / stage.name.replace(", ", "-").replace(" ", "-")
    if limit_s <= 0:
        return Outcome({}, "left out: no time was left", 0.0)
    command = [sys.executable, str(Path(__file__)), *given, f"--stage={stage.name}", f"--work={work}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with place.with_suffix(".log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            code = process.wait(limit_s)
            failure = f"exit code {code}" if code else ""
        except subprocess.TimeoutExpired:
            failure = f"not done after {limit_s:.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    seconds = time.monotonic() - started
    if failure:
        lines = place.with_suffix(".log").read_text(errors="replace").strip().splitlines()
        print("\n".join([f"--- {stage.name}: {failure}", *lines[-25:], "---"]), flush=True)
        return Outcome({}, f"{failure}: {lines[-1][:70]}" if lines else failure, seconds)
    return Outcome(read_json(work / f"{stage.name}.json"), "", seconds)


def as_rows(outcomes: dict[str, Outcome]) -> Iterator[tuple[str, str, str]]:
    """The table's rows: what, its figure, a remark."""
    for name, outcome in outcomes.items():
        if outcome.failure:
            yield name, "FAILED", outcome.failure
        elif "passed" in outcome.figures:
            counted = outcome.figures
            yield name, f"{counted['passed']} passed", f"{counted['skipped']} skipped, {outcome.seconds:.0f} s"
        elif "tokens_per_s" in outcome.figures:
            yield from _of_steps(name, outcome.figures)
    if all(precision in outcomes and not outcomes[precision].failure for precision in PRECISIONS):
        half, full = (outcomes[precision].figures["runs"] for precision in PRECISIONS)
        yield from _of_quality(half, full)


def _of_steps(name: str, figures: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield f"tokens a second, {name}", f"{figures['tokens_per_s']:,.0f}", f"{figures['steps']} steps"
    reached, best = figures["operations_per_s"] / 1e12, figures["ceiling_operations_per_s"] / 1e12
    yield f"share of peak, {name}", f"{figures['share_of_ceiling']:.1%}", f"{reached:,.2f} of {best:,.2f} TFLOP/s"
    yield f"peak memory, {name}", f"{figures['peak_memory_gb']:.2f} GB", f"{figures['parameters']:,} parameters"


def _of_quality(half: list[dict[str, Any]], full: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    def mean(runs: list[dict[str, Any]], name: str) -> float:
        return sum(run[name] for run in runs) / len(runs)

    for name in METRICS:
        difference = mean(half, name) - mean(full, name)
        seeds = ", ".join(f"{run[name]:.4f}/{other[name]:.4f}" for run, other in zip(half, full, strict=True))
        told = f"{mean(half, name):.4f} / {mean(full, name):.4f}"
        yield f"{name}, bfloat16 / float32", told, f"difference {difference:+.4f}; by seed {seeds}"
    told = f"{mean(half, 'seconds'):.1f} / {mean(full, 'seconds'):.1f}"
    yield "seconds of training, likewise", told, f"{half[0]['steps']:,} steps"


def as_table(rows: list[tuple[str, str, str]]) -> str:
    """Aligned, in plain text."""
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{what:<{widths[0]}}  {figure:>{widths[1]}}  {remark}" for what, figure, remark in rows)


def checked(given: Sequence[str], limit_s: float, stages: Sequence[Stage], patience: float = 1.0) -> dict[str, Outcome]:
    """Runs one stage after the other while time is left.

    Args:
        given: arguments for each stage.
        limit_s: of all together.
        stages: what to run.
        patience: by which all limits are multiplied.
    """
    deadline, outcomes = time.monotonic() + patience * limit_s, {}
    with tempfile.TemporaryDirectory() as work:
        for stage in stages:
            left = deadline - time.monotonic()
            outcomes[stage.name] = run_apart(stage, Path(work), min(patience * stage.limit_s, left), given)
            print(
                f"{stage.name}: {outcomes[stage.name].failure or 'done'}, {outcomes[stage.name].seconds:.0f} s",
                flush=True,
            )
    return outcomes


def device_told(is_cpu: bool) -> str:
    import torch

    name = "the processor" if is_cpu else f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return f"{name}, torch {torch.__version__}"


def main() -> None:
    if missing := lacking():
        raise SystemExit(
            f"{sys.executable} lacks {' '.join(missing)}; carry them as wheels, or give PYTHON another one"
        )
    from benchmarks.measuring import add_smallest, command_line, machine, write_result
    from towers.manifest import library_versions, write_json

    parser = command_line(__doc__)
    parser.add_argument("--cpu", action="store_true", help="on the processor, in small sizes")
    parser.add_argument("--full", action="store_true", help="in a card's sizes on the processor, too")
    parser.add_argument("--only", nargs="+", default=[stage.name for stage in STAGES], help="stages, by name")
    parser.add_argument("--patience", type=float, default=1.0, help="by which all limits are multiplied")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the trainings in each precision")
    parser.add_argument("--steps", type=int, default=10, help="that are timed")
    parser.add_argument("--square", type=int, default=1536, help="side of matrices of the product, on a processor")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for everything")
    parser.add_argument("--output", type=Path, help="file for the figures, instead of one in benchmarks/results")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    add_smallest(parser, cpu=True, seeds=[0], steps=1, square=64)
    arguments = parser.parse_args()
    if not arguments.cpu:
        arguments.full = True
    if arguments.stage:
        (stage,) = (stage for stage in STAGES if stage.name == arguments.stage)
        if arguments.cpu:  # before torch is there
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        write_json(arguments.work / f"{stage.name}.json", stage.run(arguments.work, arguments))
        return
    import torch

    if not arguments.cpu and not torch.cuda.is_available():
        print("no CUDA device: nothing to check")
        return
    started = time.monotonic()
    chosen = [stage for stage in STAGES if stage.name in arguments.only]
    outcomes = checked(sys.argv[1:], arguments.limit, chosen, arguments.patience)
    told = device_told(arguments.cpu)
    rows = [("device", f"{time.monotonic() - started:.0f} s in all", told), *as_rows(outcomes)]
    print(as_table(rows), flush=True)
    content: dict[str, Any] = {
        "device": told,
        "stages": {name: outcome._asdict() for name, outcome in outcomes.items()},
    }
    if arguments.output:
        write_json(arguments.output, {"machine": machine(), "libraries": library_versions(), **content})
    else:
        write_result(arguments, f"gpu_check-{'cpu' if arguments.cpu else 'gpu'}", content)
    if any(outcome.failure for outcome in outcomes.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
