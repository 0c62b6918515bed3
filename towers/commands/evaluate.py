"""`towers evaluate`: full-ranking metrics of a run or an export, sliced, beside baselines; checks of itself; a page."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from towers.assembly import chosen_run
from towers.commands.baselines import evaluate_baselines
from towers.commands.judging import MODEL, TABLE_WIDTH, check_keys, compare_two, protocol_of, vectors_of
from towers.commands.pictures import log_pictures, report_of
from towers.commands.subject import open_subject
from towers.config import CONFIG_DIR
from towers.errors import GateRefused
from towers.evaluation import saved
from towers.evaluation.checks import honesty
from towers.evaluation.checks.all_checks import all_checks
from towers.evaluation.checks.honesty import Check
from towers.evaluation.profiles import by_taste, known_of_listeners, listener_profiles, write_profiles
from towers.evaluation.report.page import write_page
from towers.evaluation.report.table import table, write
from towers.evaluation.result import Evaluation
from towers.evaluation.slices import divided
from towers.manifest import atomic_file, library_versions, read_json


def run(config: DictConfig, folder: Path | None = None) -> Path:
    """Evaluates the run in `folder` (or what the configuration names) unless that is done; prints the tables.

    Returns:
        The folder with metrics.json, Parquet files of every figure, table.txt and report.html.

    Raises:
        GateRefused: the evaluation does not pass its own checks; everything is written all the same.
    """
    check_keys(config)
    # The demo has neither of these keys.
    if config.get("compare") is not None:
        return compare_two(config)
    if config.get("export") is not None:
        folder = Path(str(config.export))
    subject = open_subject(folder or chosen_run(config), config)
    target = subject.evaluations / f"evaluation-{config.evaluation.period}"
    settings = OmegaConf.to_container(config.evaluation, resolve=True)
    fingerprint = saved.fingerprint(
        {"subject": subject.fingerprint, "store": subject.store.fingerprint, "settings": settings,
         "libraries": library_versions()}
    )  # fmt: skip
    if (target / "metrics.json").exists() and (target / "table.txt").exists():
        written = read_json(target / "metrics.json")
        if written["metadata"]["fingerprint"] == fingerprint:
            print(f"nothing to evaluate: {target} is up to date")
            print((target / "table.txt").read_text(), end="")
            return _passed(target, [Check(**check) for check in written["metadata"]["checks"]])
    protocol = protocol_of(config, subject.store, config.evaluation.period)
    users, contents = vectors_of(subject, protocol)
    kept = Path(config.paths.evaluations) / "baselines"
    baselines, choices = evaluate_baselines(config, protocol, kept)
    evaluations = [protocol.evaluate_vectors(MODEL, users, contents), *baselines]
    checks = all_checks(
        protocol,
        evaluations,
        subject.listeners(contents),
        users,
        contents,
        subject.provenance,
    )
    profiles = listener_profiles(
        protocol.task, contents, known_of_listeners(subject.store, protocol.task, protocol.period)
    )
    evaluations = [divided(evaluation, by_taste(profiles)) for evaluation in evaluations]
    # Whoever finds it takes the rest for written.
    (target / "metrics.json").unlink(missing_ok=True)
    _show(config, evaluations, checks, target)
    write_profiles(profiles, target / "profiles.parquet")
    report = report_of(config, subject, protocol, evaluations, contents, checks, choices)
    write_page(report, target / "report.html")
    metadata = {
        "fingerprint": fingerprint,
        "subject": subject.name,
        "store": subject.store.fingerprint,
        "settings": settings,
        "tuning": choices,
        "checks": [asdict(check) for check in checks],
        "libraries": library_versions(),
    }
    write(
        evaluations,
        target,
        metadata,
        main_metric=config.evaluation.main_metric,
        known_intervals=report.intervals,
    )
    log_pictures(report, subject)
    print(f"evaluated {subject.folder}: {target}, with the page {target / 'report.html'}")
    return _passed(target, checks)


def _show(config: DictConfig, evaluations: Sequence[Evaluation], checks: Sequence[Check], target: Path) -> None:
    """On the terminal, and in table.txt."""
    console = Console(record=True, width=TABLE_WIDTH, force_terminal=False)
    for keys in config.evaluation.tables or ():
        console.print(table(evaluations, list(keys)))
    console.print(honesty.table(checks))
    with atomic_file(target / "table.txt") as temporary:
        temporary.write_text(console.export_text())


def _passed(target: Path, checks: Sequence[Check]) -> Path:
    failed = [f"{check.name}: {check.detail}" for check in checks if check.passed is False]
    if failed:
        raise GateRefused(f"{target}: the figures do not stand up to their own checks ({'; '.join(failed)})")
    return target


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="evaluate")
def main(config: DictConfig) -> None:
    """The command."""
    run(config)
