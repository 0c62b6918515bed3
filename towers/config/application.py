"""Runs a command as a Hydra application: its help, its configuration, one run or a sweep."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any, NoReturn

from hydra import version as hydra_version
from hydra._internal.utils import _run_hydra, get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from towers.config.composing import VERSION_BASE, check_overrides, composed, default, hydra_of, narrowed, without_said
from towers.config.help import help_text
from towers.config.keys import CONFIG_DIR
from towers.config.overrides import quoted
from towers.config.sweeping import Sweep, Sweepable
from towers.errors import UserError

NOWHERE = object()


class _Through(BaseException):
    """Carries a job's error past Hydra, which would print a line of its own for an `Exception`."""

    def __init__(self, error: Exception):
        super().__init__(error)
        self.error = error


def run_application(
    command: str, arguments: list[str], job: Callable[[DictConfig], Any], sweepable: Sweepable | None = None
) -> None:
    """Runs `job` on the configuration that `arguments` describe, or prints the help or configuration that they ask for.

    Hydra's own entry point reads the process's command line and shows all that was composed; its runner, which is used
    here, takes parsed arguments.

    Args:
        command: name of the command and of its YAML file.
        arguments: arguments of the command line after the command.
        job: called once for each run with what the command reads; its errors propagate unchanged.
        sweepable: handling of a sweep of this command; null: its jobs are run and nothing else.
    """
    parser = get_args_parser()
    parser.error = _refuse
    is_sweep = bool({"-m", "--multirun"} & {*arguments})
    # Options may stand among the keys: `towers train seed=1 --config-dir mine objective=mine`.
    args = parser.parse_intermixed_args([quoted(argument, is_sweep) for argument in arguments])
    if args.cfg and args.multirun:
        raise UserError("-m, --cfg: do not go together; leave -m out, and give one value a key, to see a configuration")
    check_overrides(args.overrides, command)
    if args.help or args.cfg == "job":
        print(_shown(command, args), end="")
        return

    default(command)  # composed first: a composition during Hydra's run would disturb it
    sweep = None
    if args.multirun and sweepable is not None:
        sweep = Sweep(args.config_name or command, args.overrides, args.config_dir, sweepable)
        args.overrides = sweep.overrides

    def one(config: DictConfig) -> Any:
        return job(narrowed(command, config, HydraConfig.get().overrides.task))

    def task(config: DictConfig) -> Any:
        if sweep is not None:
            return sweep.run(one, config)
        try:
            return one(config)
        except Exception as error:
            raise _Through(error) from error

    task.__module__ = f"towers.commands.{command}"  # Hydra names the job after it
    hydra_version.setbase(VERSION_BASE)
    try:
        _run(command, args, parser, task)
    except _Through as through:
        raise through.error from None
    if sweep is not None:
        sweep.tell()


def _run(command: str, args: Namespace, parser: ArgumentParser, task: Callable[[DictConfig], Any]) -> None:
    """Lets Hydra run the task.

    Its runner composes twice, the first time to learn whether a file asks for a sweep. No file here does, so one
    composition is enough where the command line has only keys, which halves the time until a command starts.
    """
    if not _has_keys_alone(args, parser.parse_args([])):
        _run_hydra(args, parser, task, CONFIG_DIR, command)
        return
    with hydra_of(command) as hydra:
        hydra.run(command, task, [*args.overrides, "hydra.mode=RUN"])


def _has_keys_alone(args: Namespace, without: Namespace) -> bool:
    """Returns whether the command line has only keys of this project: no option, and no key of Hydra's.

    Args:
        args: parsed command line.
        without: parsed empty command line.
    """
    is_plain = {**vars(args), "overrides": without.overrides} == vars(without)
    return is_plain and not any(override.lstrip("+~").startswith("hydra") for override in args.overrides)


def _shown(command: str, args: Namespace) -> str:
    """Returns the help or the configuration, as asked for."""
    config = composed(args.config_name or command, args.overrides, args.config_dir)
    shown = without_said(narrowed(command, config, args.overrides))
    if args.help:
        return help_text(command, config, shown, args.config_dir)
    return _as_yaml(shown, args.package, args.resolve)


def _refuse(message: str) -> NoReturn:
    """Raises a `UserError` in place of the parser's exit on an unknown option."""
    raise UserError(f"{message}; --help shows the keys, which are typed key=value, and the options")


def _as_yaml(config: DictConfig, package: str | None, is_resolved: bool) -> str:
    if package in (None, "_global_"):
        return OmegaConf.to_yaml(config, resolve=is_resolved)
    try:
        node = OmegaConf.select(config, str(package), default=NOWHERE, throw_on_missing=True)
    except MissingMandatoryValue:
        return "???\n"
    if node is NOWHERE:
        raise UserError(f"--package {package}: no such key here; there are {', '.join(map(str, config))}")
    return OmegaConf.to_yaml(node, resolve=is_resolved) if OmegaConf.is_config(node) else f"{node}\n"
