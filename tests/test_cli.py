"""Exit codes, and one line for a caller's mistake. A process is started where Hydra's own exits matter."""

import errno
import io
import os
import signal
import subprocess
import sys
import threading
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest
from hydra._internal.hydra import Hydra
from s3fs import S3FileSystem

from tests.answering_store import answering
from tests.command_line import apart, the_line, towers
from tests.retrieval.small_export import content, small_export
from towers import cli
from towers.config.composing import default
from towers.config.keys import CONFIG_DIR
from towers.errors import ExitCode, GateRefused, Unreachable, UserError
from towers.lifecycle.lock import held

NOWHERE = "paths.stores=/nowhere/stores"


class TestDispatch:
    def test_no_command(self, capsys):
        assert cli.main([]) == ExitCode.CALLER
        assert capsys.readouterr().out.startswith("usage: towers COMMAND")

    @pytest.mark.parametrize("argument", ["--help", "-h", "help"])
    def test_help(self, capsys, argument):
        assert cli.main([argument]) == ExitCode.OK
        shown = capsys.readouterr().out
        assert all(command in shown for command in cli.COMMANDS)

    def test_version(self, capsys):
        assert cli.main(["--version"]) == ExitCode.OK
        assert capsys.readouterr().out[0].isdigit()

    def test_unknown_command(self, capsys):
        assert cli.main(["teach"]) == ExitCode.CALLER
        shown = capsys.readouterr()
        assert not shown.out
        assert shown.err.startswith("towers: no command 'teach'; there are: prepare, profile")
        assert shown.err.count("\n") == 1

    def test_every_command_has_a_module(self):
        from pathlib import Path

        commands = Path(cli.__file__).parent / "commands"
        assert [command for command in cli.COMMANDS if not (commands / f"{command}.py").exists()] == []


class TestExitCodes:
    """The exit code and the message that follow from each exception of a command."""

    @pytest.fixture
    def run(self, monkeypatch):
        def run(error):
            def command(config):
                if error is not None:
                    raise error

            monkeypatch.setattr("towers.commands.verify.run", command)
            return cli.main(["verify"])

        return run

    def test_done(self, run):
        assert run(None) == 0

    def test_the_gate(self, run, capsys):
        assert run(GateRefused("recall fell")) == ExitCode.REFUSED
        assert capsys.readouterr().err == "towers: recall fell\n"

    def test_the_caller(self, run, capsys):
        assert run(UserError("data.root:\n  no such folder")) == 2
        assert capsys.readouterr().err == "towers: data.root: no such folder\n"

    def test_what_does_not_answer(self, run, capsys):
        assert run(Unreachable("sink.uri=x:\n  cannot be opened")) == ExitCode.FAILED
        assert capsys.readouterr().err == "towers: sink.uri=x: cannot be opened\n"

    def test_a_path_that_cannot_be_written(self, run, capsys, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(NotADirectoryError) as raised:
            (tmp_path / "file" / "below").touch()
        assert run(raised.value) == 2
        said = capsys.readouterr().err
        assert said == f"towers: {tmp_path}/file/below: Not a directory; give another path, or mend this one\n"

    @pytest.mark.parametrize("path", ["/broken/file", None])
    def test_a_disk_that_is_broken(self, run, capsys, path):
        """The error may lack the file's name, as when an open file is flushed."""
        assert run(OSError(errno.EIO, os.strerror(errno.EIO), path)) == 2
        named = path or "a file that was open"
        assert capsys.readouterr().err == f"towers: {named}: Input/output error; give another path, or mend this one\n"

    def test_a_missing_library(self, run, capsys):
        assert run(ModuleNotFoundError("No module named 'torch'", name="torch")) == 2
        assert capsys.readouterr().err.endswith("pip install 'towers-rec[train]'\n")

    def test_a_bug(self, run):
        with pytest.raises(ZeroDivisionError):
            run(ZeroDivisionError())

    def test_debug_shows_the_traceback(self, run, monkeypatch):
        monkeypatch.setenv("TOWERS_DEBUG", "1")
        with pytest.raises(UserError):
            run(UserError("no"))

    def test_stopped_by_hand(self, run):
        assert run(KeyboardInterrupt()) == 130


@pytest.mark.unhooked
class TestTable:
    """`ExitCode` lists the exit codes of `towers`; the gate's refusal of a night is in `test_retrain`."""

    def test_it_is_what_shells_say(self):
        told = {each.name: int(each) for each in ExitCode}
        assert told == {
            "OK": 0, "FAILED": 1, "CALLER": 2, "REFUSED": 3,
            "INTERRUPTED": 128 + signal.SIGINT, "USER_SIGNAL": 128 + signal.SIGUSR1,
            "TERMINATED": 128 + signal.SIGTERM,
        }  # fmt: skip

    def test_it_comes_without_torch(self):
        program = "import sys, towers.errors; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

    def test_a_store_that_does_not_answer(self, tmp_path, monkeypatch):
        with answering(503) as address:
            pass
        settings = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        for name, value in {**settings, "AWS_MAX_ATTEMPTS": "1"}.items():
            monkeypatch.setenv(name, value)
        S3FileSystem.clear_instance_cache()
        done = towers(tmp_path, "prepare", "data.root=s3://plays/set")
        S3FileSystem.clear_instance_cache()
        assert done.returncode == ExitCode.FAILED
        (line,) = done.stderr.strip().splitlines()
        assert line.startswith("towers: s3://plays/set: cannot be read (Could not connect")

    @pytest.mark.parametrize(
        ("number", "code"), [(signal.SIGTERM, ExitCode.TERMINATED), (signal.SIGUSR1, ExitCode.USER_SIGNAL)]
    )
    def test_a_night_that_is_told_to_end(self, tmp_path, number, code):
        lock = tmp_path / "stores" / "parquet" / ".retrain.lock"
        before, is_over = signal.getsignal(number), threading.Event()

        def tell() -> None:  # once the night listens, or it would be this process that ends
            while signal.getsignal(number) == before and not is_over.wait(0.01):
                pass
            if not is_over.wait(0.2):
                os.kill(os.getpid(), number)

        with held(lock, "another night", False, print):
            telling = threading.Thread(target=tell)
            telling.start()
            done = towers(tmp_path, "retrain", f"data.root={tmp_path}", "wait=true")
            is_over.set()
            telling.join()
        assert done.returncode == code
        assert done.stderr == f"towers: {number.name}: the night was stopped; the same command goes on\n"


class TestComposing:
    """Hydra composes the configuration once for a command that is given keys alone, and twice through its own
    entrance.
    """

    @pytest.fixture
    def given(self, monkeypatch):
        """Returns the configurations that the command was given, and how often Hydra composed."""
        default("verify")
        composing, times, configs = Hydra.compose_config, [], []

        def counted(hydra, *args, **kwargs):
            times.append(1)
            return composing(hydra, *args, **kwargs)

        monkeypatch.setattr(Hydra, "compose_config", counted)
        monkeypatch.setattr("towers.commands.verify.run", configs.append)

        def given(*arguments):
            configs.clear()
            times.clear()
            assert cli.main(["verify", *arguments]) == ExitCode.OK
            return configs, len(times)

        return given

    def test_once(self, given, tmp_path):
        (config,), times = given("export=a=b", "min_index_recall=0.5")
        assert (config.export, config.min_index_recall, times) == ("a=b", 0.5, 1)
        with_options = (["--config-dir", str(tmp_path)], ["hydra.job.name=verify"], ["--run"])
        for more in with_options:
            assert given("export=a=b", "min_index_recall=0.5", *more) == ([config], 2), more

    def test_a_sweep_that_is_asked_for_by_its_key(self, given):
        configs, _ = given("min_index_recall=0.5,0.6", "hydra.mode=MULTIRUN")
        assert [config.min_index_recall for config in configs] == [0.5, 0.6]


@pytest.mark.unhooked
class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["train", "no_such_key=1"], "no_such_key"),
            (["train", "objective=nothing"], "objective=nothing: no such choice; There are "),
            (["train", "seed=["], "seed=[: cannot be read"),
            (["train", "data=ml1m", NOWHERE], "/nowhere/stores/ml1m: no prepared store here"),
            (["train", "-m", "seed=1,2", "no_such_key=1"], "no_such_key"),
            (["train", "-m", "seed=1,2", "data=ml1m", NOWHERE], "/nowhere/stores/ml1m: no prepared store here"),
            (["prepare", "data.root=/nowhere/raw"], "/nowhere/raw"),
            (["teach"], "no command"),
            (["prepare"], "data.root: missing; give it as data.root=VALUE"),
            (["verify", "export=/nowhere/export"], "/nowhere/export"),
            (["similar", "content=Sigur Rós", "export=/nowhere/export"], "/nowhere/export"),
            (["similar", "content=Don't Stop", "export=/nowhere/export"], "/nowhere/export"),
            (["similar", "content=A, B", "export=/nowhere/export"], "/nowhere/export"),
        ],
    )
    def test_one_line(self, tmp_path, arguments, said):
        done = towers(tmp_path, *arguments)
        assert not done.stdout or done.stdout.startswith("job 1 of 2: ")
        assert said in the_line(done)


@pytest.mark.unhooked
class TestProcess:
    def test_help_of_a_command(self, tmp_path):
        outcome = towers(tmp_path, "train", "--help")
        assert outcome.returncode == 0, outcome.stderr
        assert "objective" in outcome.stdout

    @pytest.mark.parametrize(("run", "command"), [(apart, "recommend"), (towers, "similar"), (towers, "verify")])
    def test_help_says_what_keys_look_like_and_where_they_are_explained(self, tmp_path, run, command):
        outcome = run(tmp_path, command, "--help")
        assert outcome.returncode == 0, outcome.stderr
        first = outcome.stdout.splitlines()[0]
        assert first
        assert "Hydra" not in outcome.stdout
        assert "key=value" in outcome.stdout
        assert CONFIG_DIR in outcome.stdout
        assert "export: ${paths.exports}/current" in outcome.stdout

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["train", "-m", "seed=1,2", "no_such_key=1"], "no_such_key"),
            (["train", "seed=["], "seed=[: cannot be read"),
            (["teach"], "no command"),
        ],
    )
    def test_a_mistake_is_one_line(self, tmp_path, arguments, said):
        done = apart(tmp_path, *arguments)
        assert not done.stdout
        line = the_line(done)
        assert line.startswith("towers: ")
        assert said in line

    def test_a_mistake_with_debug(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TOWERS_DEBUG", "1")
        outcome = apart(tmp_path, "verify", "export=/nowhere/export")
        assert outcome.returncode == 1
        assert "Traceback" in outcome.stderr

    @pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
    def test_a_terminal_that_has_not_all_signs(self, tmp_path, monkeypatch, encoding):
        contents = [content("a", title="Ágætis"), content("b", title="東京 № 5")]
        export = small_export(tmp_path / "export", contents, np.eye(2, dtype=np.float32), {"Zoë": [0]})
        monkeypatch.setenv("COLUMNS", "120")
        written = {name: io.TextIOWrapper(io.BytesIO(), encoding) for name in ("stdout", "stderr")}
        with redirect_stdout(written["stdout"]), redirect_stderr(written["stderr"]):
            assert cli.main(["recommend", f"export={export.folder}", "user=Zoë"]) == ExitCode.OK
            assert cli.main(["similar", f"export={export.folder}", "content=東京"]) == ExitCode.CALLER
        said = {}
        for name, stream in written.items():
            stream.flush()
            said[name] = stream.buffer.getvalue().decode(encoding)
        assert "?? ? 5" in said["stdout"]
        assert "Ágætis".encode(encoding, "replace").decode(encoding) in said["stdout"]
        assert said["stderr"].startswith("towers: '??': no content")

    def test_reading_writes_nothing(self, tmp_path):
        towers(tmp_path, "train", "--cfg", "job")
        line = the_line(apart(tmp_path, "verify", "export=/nowhere/export"))
        assert line.startswith("towers: /nowhere/export")
        towers(tmp_path, "recommend", "-m", "user=a,b", "export=/nowhere/export")
        assert not list(tmp_path.iterdir())


def test_a_reader_that_goes_is_told_in_a_line() -> None:
    """As `towers recommend ... | head` does, whose reader ends early."""
    reading, writing = os.pipe()
    os.close(reading)
    program = (
        "import sys; from towers import cli; cli._start = lambda *_: print('x' * 100_000, flush=True); "
        "sys.exit(cli.main(['verify']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert ended.returncode == 1
    assert ended.stderr == "towers: the reader of the output has gone; the same command goes on from here\n"
