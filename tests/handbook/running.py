"""Runs the blocks of one page in its working folder, as a reader does who types them in."""

import os
import shlex
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

from tests.command_line import environment, towers
from tests.handbook.pages import SHELL, Block, Command, Page, commands
from tests.handbook.splitting import assigned, of_towers

LONGEST_S = 600
"""Seconds after which a command that goes through bash is taken to hang."""
TOLD = 4_000
"""Number of characters of an output that a failure shows."""


class PageFailed(AssertionError):
    """Raised if a block of a page does not do what the page says; the message names page, line and command."""


class Reader:
    """Follows one page in a folder.

    Args:
        page: page to follow.
        folder: working folder, which holds the page's world.
    """

    def __init__(self, page: Page, folder: Path):
        self.page, self.start, self.folder = page, folder, folder
        self.variables: dict[str, str] = {}
        self.names: dict[str, object] = {"__name__": "__main__"}
        self.left_running: list[subprocess.Popen[bytes]] = []

    def follow(self, *, slow: bool) -> None:
        """Writes and runs all blocks of the page, without the slow ones unless `slow`.

        Raises:
            PageFailed: a command ended otherwise than the page says.
        """
        try:
            for block in self.page.blocks:
                if block.title is not None:
                    self._write(block)
                elif block.is_run and (slow or not block.is_slow):
                    self._run(block)
        finally:
            self._tidy_up()

    def _write(self, block: Block) -> None:
        path = self.folder / str(block.title)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
        self._forget_modules()

    def _run(self, block: Block) -> None:
        if block.language != SHELL:
            self._run_python(block)
            return
        all_of_it = list(commands(block))
        for command in all_of_it:
            self._run_command(command, block.exit_code if command is all_of_it[-1] else 0)

    def _run_python(self, block: Block) -> None:
        source = "\n" * (block.line - 1) + block.text
        printed = StringIO()
        # As where `python` is started, modules of the working folder are found.
        path = patch.object(sys, "path", [str(self.folder), *sys.path])
        with self._as_typed(), path, chdir(self.folder), redirect_stdout(printed), redirect_stderr(printed):
            try:
                exec(compile(source, self.page.path, "exec"), self.names)
            except Exception as error:
                lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == self.page.path]
                line = lines[-1] if lines else getattr(error, "lineno", None) or block.line
                code = source.splitlines()[line - 1].strip()
                raise PageFailed(f"{self.page.path}:{line}: {code}\n{type(error).__name__}: {error}") from error

    def _run_command(self, command: Command, expected: int) -> None:
        calls = of_towers(command.text)
        code, printed = self._by_bash(command) if calls is None else self._in_process(calls)
        if code != expected:
            raise PageFailed(
                f"{self.page.path}:{command.line}: {command.text}\n"
                f"ended with exit code {code}, and {expected} was expected:\n{printed[-TOLD:]}"
            )

    def _in_process(self, calls: list[list[str]]) -> tuple[int, str]:
        """Runs `towers A && towers B` and returns exit code and output."""
        printed = ""
        for call in calls:
            variables, (_, *arguments) = assigned(call)
            smaller = self.page.settings.get(arguments[0], []) if arguments else []
            with self._as_typed(variables):
                done = towers(self.folder, *arguments, *smaller)
            printed += done.stdout + done.stderr
            if done.returncode != 0:
                return done.returncode, printed
        return 0, printed

    def _by_bash(self, command: Command) -> tuple[int, str]:
        """Runs any other command and returns exit code and output. Its background processes end with the page."""
        with tempfile.TemporaryDirectory() as scratch:
            state, printed = Path(scratch, "state"), Path(scratch, "printed")
            script = f"set -euo pipefail\n{command.text}\n{{ pwd; env -0; }} > {shlex.quote(str(state))}\n"
            with printed.open("wb") as out:
                process = subprocess.Popen(
                    ["bash", "-c", script],
                    cwd=self.folder, env=self._environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                    start_new_session=True,
                )  # fmt: skip
            self.left_running.append(process)
            code = process.wait(LONGEST_S)
            if state.exists():
                self._take_over(state.read_text())
            return code, printed.read_text(errors="replace")

    def _environment(self) -> dict[str, str]:
        commands_of_here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**environment(), "PATH": commands_of_here, **self.variables}

    def _take_over(self, state: str) -> None:
        """Keeps the folder and the variables that a command has left, as a shell does."""
        folder, _, variables = state.partition("\n")
        self.folder = Path(folder)
        found = dict(each.split("=", 1) for each in variables.split("\0") if "=" in each)
        before = self._environment()
        changed = {name: text for name, text in found.items() if before.get(name) != text}
        self.variables |= {name: text for name, text in changed.items() if name not in ("_", "SHLVL", "PWD", "OLDPWD")}

    @contextmanager
    def _as_typed(self, more: dict[str, str] | None = None) -> Iterator[None]:
        """Gives the process the page's variables for the block, and finds modules where these say."""
        variables = {**self.variables, **(more or {})}
        found_in = [path for path in variables.get("PYTHONPATH", "").split(os.pathsep) if path]
        path = [*(str((self.folder / each).resolve()) for each in found_in), *sys.path]
        with patch.dict(os.environ, variables), patch.object(sys, "path", path):
            yield

    def _forget_modules(self) -> None:
        """Drops modules of the working folder, as another page may have some of the same name."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and Path(file).is_relative_to(self.start):
                del sys.modules[name]

    def _tidy_up(self) -> None:
        self._forget_modules()
        for process in self.left_running:
            try:
                os.killpg(process.pid, 9)
            except ProcessLookupError:
                continue
