"""`towers home` on the log of a server: train, update, evaluate, gate, log, rollback."""

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from towers.assembly.home_policy import HomePlan, home_plan
from towers.commands.progress import StageProgress
from towers.config.instantiate import value
from towers.errors import GateRefused, UserError
from towers.evaluation.off_policy.judge import OffPolicyResult
from towers.lifecycle.gate.verdict import Verdict
from towers.lifecycle.home.told import lines_of
from towers.lifecycle.home.versions import Made, judged, lead_to, trained, updated
from towers.lifecycle.home_gate.gate import HomeEvidence
from towers.lifecycle.home_gate.gate import judge as verdict_of
from towers.lifecycle.home_report.pages import write_judgement_page
from towers.lifecycle.home_report.tables import estimates_table
from towers.manifest import code_versions
from towers.policies.bandit.policy_file import roll_back
from towers.service.home_log import OPEN, HomeLog

PAGE = "report.html"
TABLE_WIDTH = 120


def train(config: DictConfig) -> Made:
    """Trains a version of the policy from the log alone, without an earlier version."""
    plan = home_plan(config)
    with StageProgress() as progress:
        data = plan.data()
        made = trained(
            plan.folder, plan.policy(data.export.dim), data, progress.update, held_out=plan.held_out, keep=plan.keep
        )
    print("\n".join(lines_of(made, plan.folder, plan.log_name)))
    return made


def update(config: DictConfig) -> Made:
    """Trains a version that continues from the one that serves."""
    plan = home_plan(config)
    with StageProgress() as progress:
        made = updated(plan.folder, plan.data(), progress.update, held_out=plan.held_out, keep=plan.keep)
    print("\n".join(lines_of(made, plan.folder, plan.log_name)))
    return made


def evaluate(config: DictConfig) -> OffPolicyResult:
    """Prints an off-policy evaluation of a version by the log; the version stays as it is."""
    plan = home_plan(config)
    result, verdict = _judged(plan)
    print("\n".join(verdict.lines(is_full=True)))
    return result


def gate(config: DictConfig) -> Path:
    """Judges a version, and lets it serve if it passes.

    Raises:
        GateRefused: it does not pass.
    """
    plan = home_plan(config)
    version = plan.version()
    _, verdict = _judged(plan)
    print("\n".join(verdict.lines(is_full=True)))
    if not verdict.passed:
        raise GateRefused(f"policy {version.name} is refused by {verdict.rules}; the version that serves stays")
    lead_to(plan.folder, version)
    print(f"{version.name} serves from now on: {plan.folder / 'current'}")
    return version


def _judged(plan: HomePlan) -> tuple[OffPolicyResult, Verdict]:
    """Judges a version by the log and the gate's rules; prints the estimates, and writes a page."""
    version = plan.version()
    page = plan.evaluations / f"home-{plan.folder.name}-{version.name}" / PAGE
    with StageProgress() as progress:
        data = plan.data()
        result, evidence = judged(plan.folder, version, data, plan.judge, progress.update, more=str(page))
    verdict = verdict_of(HomeEvidence(result=evidence.result, more=evidence.more), plan.rules, plan.force)
    about = {
        "title": f"Policy {version.name}", "policy": str(plan.folder), "export": data.export.version,
        "space": data.export.space_id, "log": plan.log_name, "settings": plan.settings,
        "libraries": code_versions(),
    }  # fmt: skip
    write_judgement_page(result, verdict, about, page)
    Console(width=TABLE_WIDTH).print(estimates_table(result))
    print(f"judged {version}: {page}")
    return result, verdict


def write_log(config: DictConfig) -> int:
    """Writes all that a server has logged so far, including impressions that still wait for an outcome."""
    folder = value(config, "log", str | None)
    if folder is None or not (Path(folder) / OPEN).exists():
        raise UserError(f"log={folder or 'null'}: give the folder that a server logs in (home.log of towers serve)")
    log = HomeLog(Path(folder))
    rows = log.write_parts(everything=True)
    log.close()
    print(f"wrote {rows:,} rows to {Path(folder) / 'impressions'}")
    return rows


def rolled_back(config: DictConfig) -> Path:
    """Lets an earlier version serve again."""
    folder, version = Path(value(config, "folder", str)), value(config, "version", str | None)
    target = roll_back(folder, version)
    print(f"{target.name} serves again: {folder / 'current'}")
    return target
