"""`towers COMMAND ...`: finds the command without importing the others, and turns errors into exit codes."""

import errno
import importlib
import io
import os
import select
import shutil
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, TypeGuard

from towers.disk import DiskFull, is_full, mount_of
from towers.errors import ExitCode, GateRefused, UserError
from towers.extras import code_version, how_to_install
from towers.secrets import masked

COMMANDS = {
    "prepare": "raw Parquet, or a public data set's own files -> prepared store",
    "profile": "what the prepared store holds, and how it differs from the version before",
    "train": "prepared store -> checkpoint; resumes by itself after a kill",
    "evaluate": "full-ranking metrics of a checkpoint, sliced, beside baselines",
    "export": "checkpoint -> versioned export: vectors, ONNX, index, manifest",
    "verify": "checks an export, without torch",
    "recommend": "what to play next, for a listener or a history",
    "similar": "nearest neighbours of a track, an episode or an artist",
    "embed": "the vector of a listener or a content that the export does not have",
    "playlists": "lists for one listener, several, or all: Discover Weekly, blends, editors' pools",
    "home": "the home page's policy: simulate, train from a log, evaluate, publish, roll back",
    "simulate": "simulated listeners: fitted to an event log, checked against real ones, run forward",
    "agent": "slates for the long term: train among simulated listeners, evaluate, explain, export",
    "serve": "an export over HTTP, and a page to explore the space",
    "clean": "removes old runs, stores and exports, never what serves; a dry run by default",
    "retrain": "the nightly cycle: trains on new data, evaluates, publishes unless it is worse",
    "forget": "finds everything that is stored about a listener, and removes it on request",
    "demo": "the whole pipeline on a small synthetic world",
}
EXTRAS = {"serve": "serve", "agent": "agent"}
"""Extra that a command needs where it is not `train`."""
SWEEPS_RUNS = ("train",)
"""Commands whose sweep ends with a table of runs."""
BARRED = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EIO,
)  # fmt: skip
"""Error numbers of a path given by the caller that cannot be written or read. EIO means a broken disk; the system may
then not know which path it was."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its `ExitCode`; a bug is raised unchanged."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _print_whatever_can_be_printed()
    sys.excepthook = _print_traceback
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return ExitCode.OK if arguments else ExitCode.CALLER
    if arguments[0] == "--version":
        print(code_version())
        return ExitCode.OK
    command, *rest = arguments
    if command not in COMMANDS:
        return _complain(f"no command {command!r}; there are: {', '.join(COMMANDS)}")
    return _run(command, rest)


def _print_whatever_can_be_printed() -> None:
    """Makes output streams print `?` for characters that the terminal's encoding lacks; titles come in all scripts."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints an uncaught exception as Python does, secrets masked: a library may show an address with its key."""
    print(masked("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: towers COMMAND [key=value ...]",
            "",
            *lines,
            "",
            "towers COMMAND --help shows a command's groups and keys, --cfg job the resolved configuration,",
            "-m sweeps over comma-separated values.",
        ]
    )


def _run(command: str, rest: list[str]) -> int:
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints the error itself and exits with 1
    try:
        _start(command, rest)
    except GateRefused as refused:
        print(f"towers: {masked(str(refused))}", file=sys.stderr)
        return refused.exit_code
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "towers" or os.environ.get("TOWERS_DEBUG") == "1":
            raise
        extra = EXTRAS.get(command, "train")
        return _complain(f"{command} needs {error.name}, which is not installed; {how_to_install(extra)}")
    except BrokenPipeError:
        if not _is_output_closed():
            raise
        print("towers: the reader of the output has gone; the same command goes on from here", file=sys.stderr)
        return ExitCode.FAILED
    except Exception as error:
        if os.environ.get("TOWERS_DEBUG") == "1" or not _is_callers(error):
            raise
        return _complain(_message(error, command), getattr(error, "exit_code", ExitCode.CALLER))
    except KeyboardInterrupt:
        print("towers: stopped; the same command goes on from here", file=sys.stderr)
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def _is_output_closed() -> bool:
    """Returns whether standard output is a pipe without a reader, as behind `| head`; if so, what is left of the output
    is thrown away, so that the interpreter does not complain of it at its end."""
    output = select.poll()
    output.register(sys.stdout.fileno(), select.POLLOUT)
    is_closed = any(state & select.POLLERR for _, state in output.poll(0))
    if is_closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return is_closed


def _start(command: str, rest: list[str]) -> None:
    """Runs the command as a Hydra application; its errors propagate unchanged.

    Its module is imported only once the configuration is composed, so that help and mistakes do not wait for torch.
    """
    from towers.config.application import run_application
    from towers.config.sweeping import Sweepable

    def job(config: Any) -> Any:
        try:
            return importlib.import_module(f"towers.commands.{command}").run(config)
        except Exception as error:
            if not is_full(error):
                raise
            raise _located(error, config) from error

    def of_runs(name: str) -> Any:
        return lambda *given: getattr(importlib.import_module("towers.assembly.sweeps"), name)(*given)

    sweepable = Sweepable(score=of_runs("score"), tell=of_runs("tell")) if command in SWEEPS_RUNS else None
    run_application(command, rest, job, sweepable)


def _located(error: Exception, config: Any) -> DiskFull:
    """Returns an error about a full disk, with the key of `paths` that moves what was written."""
    folders = {f"paths.{name}": Path(str(folder)).absolute() for name, folder in (config.get("paths") or {}).items()}
    if isinstance(error, DiskFull):
        full = error
    else:
        named = error.filename if isinstance(error, OSError) else None
        tightest = min([*folders.values(), Path.cwd()], key=lambda folder: shutil.disk_usage(mount_of(folder)).free)
        full = DiskFull(Path(os.fsdecode(named)) if isinstance(named, (str, bytes)) else tightest)
    return full.moved_by(next((key for key, folder in folders.items() if full.path.is_relative_to(folder)), None))


def _is_callers(error: Exception) -> bool:
    """Returns whether the caller can mend it: a `UserError`, a path that cannot be written or read, or what Hydra and
    OmegaConf raise for a configuration that does not fit."""
    if isinstance(error, UserError) or _is_barred(error):
        return True
    modules = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return bool(modules & {"hydra", "omegaconf"})


def _is_barred(error: Exception) -> TypeGuard[OSError]:
    if not isinstance(error, OSError) or error.errno not in BARRED:
        return False
    return error.filename is not None or error.errno == errno.EIO


def _message(error: Exception, command: str) -> str:
    if isinstance(error, UserError):
        return " ".join(masked(str(error)).split())  # masked first: a secret of several lines has line breaks
    if _is_barred(error):
        path = "a file that was open" if error.filename is None else os.fsdecode(error.filename)
        return f"{path}: {error.strerror}; give another path, or mend this one"
    from towers.config.messages import one_line

    return one_line(error, command)


def _complain(message: str, code: ExitCode = ExitCode.CALLER) -> int:
    print(f"towers: {masked(message)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
