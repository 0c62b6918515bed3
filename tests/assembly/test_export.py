"""Which of several versions an export finds again."""

import json
import os

from towers.assembly.export import export_plan
from towers.config.composing import compose


def test_of_versions_of_one_network_the_one_that_was_written_last(tmp_path):
    for name, source, written_s in (("20260729-ff", "a", 1), ("20260729-11", "a", 2), ("20260729-aa", "b", 3)):
        (tmp_path / name).mkdir()
        manifest = tmp_path / name / "manifest.json"
        manifest.write_text(json.dumps({"source": source}))
        os.utime(manifest, (written_s, written_s))
    (tmp_path / "current").symlink_to("20260729-ff")
    plan = export_plan(compose("export", [f"paths.exports={tmp_path}"]))
    assert plan.version_with("a") == tmp_path / "20260729-11"
    assert plan.version_with("c") is None
