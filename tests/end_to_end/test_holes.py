"""Commands work on stores with holes and with a withdrawn content."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.command_line import EXPORT, SMALL_WORLD, ok, run_of
from tests.data.lasting import with_holes
from towers.assembly.run import load_run
from towers.data.store import Store
from towers.errors import UserError
from towers.evaluation.exports import ExportOnStore
from towers.evaluation.report.data_profile import data_profile
from towers.policies.playlists.pool_file import pool_of
from towers.publishing.sinks.rows import content_rows
from towers.retrieval.export import Export

pytestmark = [pytest.mark.unhooked, pytest.mark.slow]
NETWORK = ("experiment=demo", "audio_encoder=none", "placement=none")


@dataclass(frozen=True, kw_only=True)
class Lasting:
    """A folder in which a network was trained, evaluated and exported on a store with holes.

    Args:
        folder: the working folder.
        store: the store with holes.
        whole: the same store without holes, on which the demo's network was trained.
        withdrawn: id of the track that was chosen most, and has been withdrawn.
    """

    folder: Path
    store: Store
    whole: Store
    withdrawn: str

    @property
    def export(self) -> Export:
        """The export that serves."""
        return Export(self.folder / "exports" / "current")


@pytest.fixture(scope="module")
def lasting(demo: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Lasting:
    """The demo's store with holes, and the results from it."""
    folder = tmp_path_factory.mktemp("holes")
    (root,) = (demo[0] / "stores").iterdir()
    (folder / "worlds").symlink_to(demo[0] / "worlds")
    whole = Store.open(root)
    withdrawn = str(whole.content_ids[np.argmax(np.where(whole.is_playable, whole.train_positives, 0))])
    store = with_holes(whole, folder / "stores" / root.name, withdrawn=[withdrawn])
    ok(folder, "train", *NETWORK, *SMALL_WORLD, "logger=csv", "trainer.max_epochs=1")
    ok(folder, "evaluate", *NETWORK, "evaluation.min_users=2", "evaluation.tuning.max_trials=0")
    ok(folder, "export", *NETWORK, *EXPORT)
    return Lasting(folder=folder, store=store, whole=whole, withdrawn=withdrawn)


def test_an_export_has_no_holes_and_says_what_is_withdrawn(lasting: Lasting) -> None:
    export = lasting.export
    assert "verified" in ok(lasting.folder, "verify")
    assert list(export.content_ids) == lasting.whole.content_ids.tolist()
    assert list(export.user_ids) == lasting.whole.user_ids.tolist()
    assert export.is_withdrawn is not None
    row = export.content_row(lasting.withdrawn)
    assert np.flatnonzero(export.is_withdrawn).tolist() == [row]
    assert row in export.all_chosen.values
    np.testing.assert_array_equal(export.all_chosen.values, _chosen(lasting.whole))


def test_whoever_evaluates_lists_what_is_listed(lasting: Lasting) -> None:
    (path,) = lasting.folder.glob("runs/demo/*/evaluation-test/lists.parquet")
    lists = pq.read_table(path)
    rows = pc.call_function("list_flatten", [lists["content_rows"]]).to_numpy()
    rows = rows[rows >= 0]
    assert len(rows)
    assert lasting.store.is_playable[rows].all()
    assert len(lists["ranker"].unique()) == 14  # the model, the chance of a listen, and all baselines


def test_holes_are_counted_nowhere(lasting: Lasting) -> None:
    found, before = data_profile(lasting.store), data_profile(lasting.whole)
    assert (found.kinds, found.history_lengths) == (before.kinds, before.history_lengths)


def test_nobody_is_recommended_what_is_withdrawn(lasting: Lasting) -> None:
    folder, withdrawn, export = lasting.folder, lasting.withdrawn, lasting.export
    ok(folder, "recommend", "user=all", "k=100", "include_heard=true", "output=all.parquet")
    listed = pq.read_table(folder / "all.parquet")["content_id"]
    assert listed.null_count == 0
    assert set(listed.to_pylist()) == set(lasting.store.content_ids[lasting.store.is_playable])
    row = export.content_row(withdrawn)
    assert row not in export.most_played
    assert export.co_listening is not None
    assert export.regions is not None
    assert row not in export.co_listening.rows
    assert export.regions.region_of_content[row] == -1
    rows = content_rows(export, export.dim)
    ids = [content_id for batch in rows.batches(7) for content_id in batch["content_id"].to_pylist()]
    assert rows.count == len(ids) == len(export.content_ids) - 1
    assert withdrawn not in ids


def test_what_is_withdrawn_may_be_asked_by(lasting: Lasting) -> None:
    folder, withdrawn, export = lasting.folder, lasting.withdrawn, lasting.export
    told = ok(folder, "similar", f"content={withdrawn}", "k=100")
    assert told.count(withdrawn) == 2  # in the heading, once as its title
    other = next(one for one in export.content_ids if one in told and one != withdrawn)
    assert withdrawn not in ok(folder, "similar", f"content={other}", "k=100")
    assert "this history" in ok(folder, "recommend", f"history=[{withdrawn}]", "k=2")
    with pytest.raises(UserError, match=f"row 1: contents: '{withdrawn}' cannot be played, it has been withdrawn"):
        pool_of(export, {"contents": [withdrawn]}, "pool")


def test_a_network_gives_its_vectors_on_a_later_version(demo: tuple[Path, str], lasting: Lasting) -> None:
    """A network of one version of the store encodes every content of a later one; no hole has a row."""
    (root,) = (demo[0] / "stores").iterdir()
    folder = demo[0] / run_of(demo[0])
    stores = lasting.folder / "both"
    (stores / root.name).mkdir(parents=True)
    (stores / root.name / lasting.whole.fingerprint).symlink_to(lasting.whole.folder.resolve())
    (stores / root.name / "current").symlink_to(lasting.store.folder.resolve())
    (stores / root.name / "spectrograms").symlink_to((root / "spectrograms").resolve())
    before = load_run(folder, stores)
    after = load_run(folder, stores, is_refreshed=True, is_compact=True)
    assert after.store.content_ids.tolist() == before.store.content_ids.tolist()
    np.testing.assert_array_equal(after.store.trained_rows, np.arange(len(after.store.content_ids)))
    # The withdrawn content has lost its metadata, and its artist a content.
    same = before.store.is_playable & (before.store.content_ids != lasting.withdrawn)
    vectors = before.content_vectors()
    np.testing.assert_allclose(after.content_vectors()[same], vectors[same], atol=1e-5)
    rows = np.arange(len(before.store.user_ids))
    expected = before.user_vectors(rows, vectors, "end")
    np.testing.assert_allclose(after.user_vectors(rows, vectors, "end"), expected, atol=1e-5)


def test_an_export_of_before_is_measured_on_a_later_version(demo: tuple[Path, str], lasting: Lasting) -> None:
    found = ExportOnStore(Export(demo[0] / "exports" / "current"), lasting.store)
    assert found.notes() == []
    assert found.content_vectors().any(axis=1).tolist() == lasting.store.has_content.tolist()


def _chosen(store: Store) -> np.ndarray:
    histories = store.histories
    return histories.content_row[np.asarray(histories.is_positive) & (np.asarray(histories.content_row) >= 0)]
