"""`towers prepare` reports differences from the version before, and `towers profile` shows any two versions."""

import json

import pytest

from tests.command_line import ok, refused
from tests.data import raw_set
from towers.commands.prepare import profiled
from towers.data.profiling.files import FILE, verdict_at
from towers.data.profiling.thresholds import Thresholds


def test_from_one_version_to_the_next(raw, tmp_path, make_builder):
    root = tmp_path / "stores" / "parquet"
    before = make_builder(raw, root).build()[0]
    first = profiled(before, None, Thresholds(), "set")
    assert [line for line in first if line.startswith("top contents  One (6)")]
    assert not [line for line in first if "beside" in line]

    untitled = [{**content, "title": None} for content in raw_set.CONTENTS]
    raw_set.write_part(raw, "contents", raw_set.content_table(untitled))
    after = make_builder(raw, root).build()[0]
    told = profiled(after, before.folder, Thresholds(), "set")
    assert f"data beside {before.fingerprint}: BROKEN" in told
    assert [line for line in told if line.startswith("  broken metadata_gone: ")]
    assert profiled(after, after.folder, Thresholds(), "set") == told  # also where nothing is to be prepared
    assert verdict_at(root / "current").level == "broken"
    assert "metadata_gone" in (after.folder / "profile.html").read_text()

    shown = ok(tmp_path, "profile", "output=found.json").splitlines()
    assert {*told[:-1]} <= {*shown}
    assert json.loads((tmp_path / "found.json").read_text()) == json.loads((after.folder / FILE).read_text())

    back = ok(tmp_path, "profile", f"compare=[{after.folder},{before.fingerprint}]")
    assert back.startswith(f"{before.fingerprint}: 17 events of 3 listeners with")
    assert "metadata_gone" not in back


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("compare=[a,b]", "a: neither a store's folder nor a fingerprint nor a profile.json"),
        ("profiling.missing=[0.5,0.1]", "profiling.missing=[0.5, 0.1]: must be two numbers"),
    ],
)
def test_mistakes_are_one_line(tmp_path, given, said):
    assert said in refused(tmp_path, "profile", given)
