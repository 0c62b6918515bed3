"""The learnt mixture is fitted to the data that serving had when the validation period began."""

from contextlib import chdir
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.command_line import EXPORT, ok, run_of
from towers.assembly.export import export_plan
from towers.config.composing import compose
from towers.policies.listener import Listener
from towers.publishing.judged_space import JudgedSpace
from towers.publishing.mixture import JudgedExport
from towers.publishing.projection import Projection
from towers.retrieval import files
from towers.retrieval.export import Export
from towers.retrieval.search import listen_log_odds

pytestmark = pytest.mark.unhooked


def test_the_demo_has_one_that_ranks(demo: tuple[Path, str]) -> None:
    export = Export(demo[0] / "exports" / "current")
    assert export.mixture is not None
    fitted = export.manifest["mixture"]
    assert fitted["held_out_auc"]["mixture"] > 0.5
    assert 0 <= fitted["cold_share"] <= 1


@pytest.mark.slow
def test_features_are_those_of_an_export_of_that_time(demo: tuple[Path, str], tmp_path: Path) -> None:
    whole = Export(demo[0] / "exports" / "current")
    assert whole.listen_chance is not None
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=whole.manifest["validation_start_us"])
    command = ("export", f"checkpoint={run_of(demo[0])}", f"paths.exports={tmp_path}", f"as_of={start.isoformat()}")
    ok(demo[0], *command, *EXPORT)
    cut = Export(next(path for path in tmp_path.iterdir() if path.name != "current"))
    listeners = np.flatnonzero(np.diff(cut.all_chosen.offsets) > 0)[::5]
    with chdir(demo[0]):  # the store is opened when it is first read
        plan = export_plan(compose("export", ["experiment=demo", *EXPORT]))
        run = plan.load(Path(run_of(demo[0])))
        space = JudgedSpace.of(plan.trained(run), run.content_vectors(), Projection(axes=cut.axes))
        assert isinstance(space, JudgedSpace)
        judged = JudgedExport(
            space, cut.folder / files.USER_TOWER, cut.space_id, run.max_length, whole.listen_chance, listeners
        )
    rows = np.flatnonzero(cut.catalogue.of_kinds(("track", "episode")))
    for row in listeners.tolist():
        found = []
        for export in (cut, judged):
            listener = Listener.of_row(export, row)
            affinity = listener.affinity(rows)
            odds = listen_log_odds(export, whole.listen_chance, listener.standing, rows, affinity)
            found.append(listener.mixture_features(rows, affinity, odds))
        np.testing.assert_allclose(found[1], found[0], atol=1e-3)
