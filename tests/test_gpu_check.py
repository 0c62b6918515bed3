"""The GPU check's table is printed even if stages fail; tests/test_benchmarks.py runs all of the stages."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from benchmarks.training import gpu_check
from benchmarks.training.gpu_check import NEEDED, STAGES, Outcome, as_rows, as_table, checked, lacking

pytestmark = pytest.mark.unhooked

STEPS = {
    "tokens_per_s": 1_234_567.8, "steps": 10, "operations_per_s": 2e14, "ceiling_operations_per_s": 8e14,
    "share_of_ceiling": 0.25, "peak_memory_gb": 12.5, "parameters": 30_000_000,
}  # fmt: skip


def training(*figures):
    return {"runs": [{"seed": 0, "seconds": 20.0, "steps": 360, "ndcg@20": one, "recall@20": 0.5} for one in figures]}


@pytest.fixture
def outcomes():
    return {
        "tests marked gpu": Outcome({"passed": 9, "skipped": 0}, "", 41.0),
        "world": Outcome({}, "", 20.0),
        "bfloat16": Outcome(training(0.29, 0.30), "", 40.0),
        "float32": Outcome(training(0.30, 0.31), "", 40.0),
        "large, bfloat16": Outcome(STEPS, "", 30.0),
    }


def test_the_table_says_every_figure(outcomes):
    assert as_table(list(as_rows(outcomes))).splitlines() == [
        "tests marked gpu                         9 passed  0 skipped, 41 s",
        "tokens a second, large, bfloat16        1,234,568  10 steps",
        "share of peak, large, bfloat16              25.0%  200.00 of 800.00 TFLOP/s",
        "peak memory, large, bfloat16             12.50 GB  30,000,000 parameters",
        "ndcg@20, bfloat16 / float32       0.2950 / 0.3050  difference -0.0100; by seed 0.2900/0.3000, 0.3000/0.3100",
        "recall@20, bfloat16 / float32     0.5000 / 0.5000  difference +0.0000; by seed 0.5000/0.5000, 0.5000/0.5000",
        "seconds of training, likewise         20.0 / 20.0  360 steps",
    ]


def test_what_failed_has_a_row_and_the_exit_code_is_1(outcomes, monkeypatch, capsys, tmp_path):
    outcomes["float32"] = Outcome({}, "not done after 75 s", 75.0)
    monkeypatch.setattr(gpu_check, "checked", lambda *_: outcomes)
    output = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--cpu", f"--output={output}"])
    with pytest.raises(SystemExit, match="1"):
        gpu_check.main()
    rows = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert rows == ["device", "tests marked gpu", "float32", *(f"{what}, large, bfloat16" for what in
                    ("tokens a second", "share of peak", "peak memory"))]  # fmt: skip
    assert "not done after 75 s" in output.read_text()


def test_a_stage_that_fails_or_takes_too_long_is_ended_and_the_others_go_on(capfd):
    (world,) = (stage for stage in STAGES if stage.name == "world")
    slow, wrong, late = world._replace(limit_s=0.01), world._replace(name="no such stage"), world
    found = checked(["--cpu"], 5.0, [slow, wrong])
    assert found["world"].failure.startswith("not done after 0 s")
    assert found["no such stage"].failure.startswith("exit code 1")
    assert checked([], 0.0, [late])["world"].failure == "left out: no time was left"
    assert "--- no such stage" in capfd.readouterr().out


def test_what_it_needs_is_what_the_package_asks_for():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = {re.split("[<>=]", each)[0] for each in [*project["dependencies"], *extras["train"], *extras["dev"]]}
    assert set(NEEDED) <= asked
    assert lacking() == []


def test_limits_end_before_a_lease_does():
    assert sum(stage.limit_s for stage in STAGES) <= gpu_check.LIMIT_S + 75
    assert gpu_check.LIMIT_S <= 8 * 60


@pytest.mark.skipif(torch.cuda.is_available(), reason="shows what is said without a CUDA device")
def test_without_a_device_there_is_nothing_to_check(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu_check.py"])
    gpu_check.main()
    assert capsys.readouterr().out == "no CUDA device: nothing to check\n"
