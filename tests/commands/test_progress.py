"""The lines about a stage's progress where standard error is no terminal."""

import re

from towers.commands import progress
from towers.commands.progress import StageProgress


def test_each_stage_is_a_line_with_the_time_when_nobody_watches(capsys, monkeypatch):
    with StageProgress() as stages:
        for done in range(3):
            stages.update("tables", done, 0)
        stages.update("decoding", 0, 1_200, "4 a second")
        stages.update("decoding", 600, 1_200, "5 a second")
        monkeypatch.setattr(progress, "EVERY_S", 0.0)
        stages.update("decoding", 1_200, 1_200, "5 a second")
    printed = capsys.readouterr()
    assert printed.err == ""
    times, told = zip(*(line.split(": ", 1) for line in printed.out.splitlines()), strict=True)
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d, \d+ s", when) for when in times)
    assert told == ("tables", "decoding, 0 of 1,200, 4 a second", "decoding, 1,200 of 1,200, 5 a second")
