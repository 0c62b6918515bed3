"""The chance of a listen, from training to all doors, and a refit that inherits it."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from tests.command_line import EXPORT, SMALL_WORLD, ok, refused, run_of
from tests.service.conftest import app_of
from towers import api
from towers.data.store import Store
from towers.evaluation.listening import Listening
from towers.retrieval.export import Export
from towers.retrieval.listen_chance import chance
from towers.retrieval.opened import OpenedExport
from towers.retrieval.query import Query, standing_of
from towers.retrieval.search import recommend

pytestmark = pytest.mark.unhooked
PLAIN = ("content_tower.dim=16", "user_tower.dim=16", "audio_encoder=none", "placement=none", "trainer.max_epochs=1")
FEW = ("evaluation.tuning.max_trials=0", "evaluation.min_users=2", "evaluation.slicings=null")


def store_of(folder: Path) -> Store:
    (store,) = (Store.open(path) for path in (folder / "stores").iterdir())
    return store


def test_serving_reads_of_a_history_what_the_fit_did(demo: tuple[Path, str]) -> None:
    """The comparison is made at the end of the data, for every listener and all candidates."""
    export, store = Export(demo[0] / "exports" / "current"), store_of(demo[0])
    model, listening = export.listen_chance, Listening(store, "end")
    assert model is not None
    assert listening.now_us == export.until_us
    query, num_chosen = Query(k=1_000, include_heard=True, skip_cooldown_days=0), 0
    for user in range(0, len(export.user_ids), 7):
        found = recommend(export, export.user_vectors[user], query, standing_of(export, user))
        row = int(np.flatnonzero(store.user_ids == export.user_ids[user])[0])
        rows = np.array([np.flatnonzero(store.content_ids == export.content_ids[one])[0] for one in found.rows])
        features, is_chosen = listening.features(row, rows, found.scores)
        num_chosen += int(is_chosen.sum())
        np.testing.assert_allclose(found.chances, chance(model.log_odds(features, is_chosen)), rtol=1e-6)
    assert num_chosen


def test_all_doors_give_the_same_share_of_the_familiar(demo: tuple[Path, str], tmp_path: Path) -> None:
    folder = demo[0] / "exports" / "current"
    export = Export(folder)
    ok(demo[0], "recommend", "user=all", "k=10", "familiar=0.3", f"output='{tmp_path / 'all.parquet'}'")
    table, opened = pq.read_table(tmp_path / "all.parquet"), api.open(folder)
    with TestClient(app_of(folder)) as client:
        check_doors(export, table.to_pylist(), opened, client)


def check_doors(export: Export, everybody: list[dict], opened: OpenedExport, client: TestClient) -> None:
    for user in (0, 5, 11):
        user_id = export.user_ids[user]
        written = [row for row in everybody if row["user_id"] == user_id]
        asked = opened.recommend(user=user_id, k=10, familiar=0.3)
        posted = client.post("/recommend", json={"user": user_id, "k": 10, "familiar": 0.3}).json()["items"]
        got = client.get("/recommend", params={"user": user_id, "k": 10, "familiar": 0.3}).json()["items"]
        ids = [row["content_id"] for row in written]
        assert ids == [one["content_id"] for one in asked]
        for items in (posted, got):
            assert ids == [one["content"]["content_id"] for one in items]
            np.testing.assert_allclose([one["chance"] for one in items], [one["chance"] for one in asked], atol=1e-6)
        np.testing.assert_allclose([row["chance"] for row in written], [one["chance"] for one in asked], rtol=1e-5)
        heard = standing_of(export, user).heard
        assert sum(export.content_row(one) in heard for one in ids) == min(3, len(heard))
    assert client.post("/recommend", json={"user": export.user_ids[0], "familiar": 2}).status_code == 422
    posted = client.post("/recommend", json={"user": export.user_ids[0], "k": 2}).json()["items"]
    assert [one["chance"] for one in posted] == [None, None]


def test_what_cannot_be_asked(demo: tuple[Path, str]) -> None:
    user = Export(demo[0] / "exports" / "current").user_ids[0]
    assert "familiar=2.0: must be a share" in refused(demo[0], "recommend", f"user='{user}'", "familiar=2")
    assert "familiar" in refused(demo[0], "recommend", f"user='{user}'", "familiar=much")
    vector = f"vector={[0.1] * Export(demo[0] / 'exports' / 'current').dim}"
    assert "a vector has no listening history" in refused(demo[0], "recommend", vector, "familiar=1")


@pytest.mark.slow
def test_a_refit_inherits_from_its_judged_twin(demo: tuple[Path, str]) -> None:
    """Without a twin the export has no model, and says why; a later one with it is another version."""
    folder, exports = demo[0], demo[0] / "refits"
    keys = ("experiment=demo", *SMALL_WORLD, *PLAIN, "name=inherits", f"paths.exports={exports}")
    export = ("export", *(key for key in keys if not key.startswith(("world.", "trainer."))), *EXPORT)
    ok(folder, "train", *keys, "train_until=test")
    (refit,) = folder.glob("runs/inherits/*")
    ok(folder, *export, f"checkpoint={refit}")
    alone = json.loads((exports / "current" / "manifest.json").read_text())
    assert "no run of the same network" in alone["listen_chance"]["reason"]
    assert Export(exports / "current").listen_chance is None
    assert "There is no model of it" in (exports / "current" / "README.md").read_text()
    user = Export(exports / "current").user_ids[0]
    asked = ("recommend", f"user='{user}'", "familiar=0.5", f"export={exports / 'current'}")
    assert "has no model of the chance of a listen: the run was trained on its validation period" in refused(
        folder, *asked
    )

    ok(folder, "train", *keys)
    ok(folder, *export, f"checkpoint={refit}")
    both = json.loads((exports / "current" / "manifest.json").read_text())
    assert both["weights"] == alone["weights"]
    assert both["listen_chance"]["fitted_with"] != both["weights"]
    assert "familiar" not in ok(folder, *asked)
    told = ok(folder, "evaluate", f"checkpoint={refit}", "experiment=demo", "name=inherits", *FEW)
    assert "towers, listen chance" in told


@pytest.mark.usefixtures("no_page")
def test_an_evaluation_on_validation_judges_each_half_by_the_other(demo: tuple[Path, str]) -> None:
    run = run_of(demo[0])
    told = ok(demo[0], "evaluate", f"checkpoint={run}", "experiment=demo", "evaluation.period=validation", *FEW)
    assert "towers, listen chance" in told
