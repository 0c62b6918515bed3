"""An export on a store: vectors of the right content and listener, equal to those of training's own path."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.retrieval.small_export import content, small_export
from towers.contract.provenance import Provenance
from towers.errors import UserError
from towers.evaluation.checks.future import future_leak, sampled_rows, trained_before
from towers.evaluation.exports import ExportOnStore
from towers.evaluation.from_store import task_from_store
from towers.evaluation.ranking.vectors import VectorRanker
from towers.features.vocabulary import Vocabulary
from towers.retrieval.export import Export

HELD = ("a1", "u9", "nowhere", "a2")
"""Contents of a small export, in another order than in the hand-written store, and with one that the store lacks."""


@pytest.fixture
def other(store, tmp_path):
    """An export made elsewhere: other contents, other countries, other contexts."""
    export = small_export(tmp_path / "export", [content(name) for name in HELD], np.eye(4, dtype=np.float32))
    folder = export.folder / "vocabularies"
    folder.mkdir()
    Vocabulary(["album", "radio", "zoo", "home"]).write(folder / "context.parquet")
    Vocabulary(["aa", "no"]).write(folder / "country.parquet")
    Vocabulary(["free"]).write(folder / "plan.parquet")
    settings = replace(store.features, user_columns=("plan", "country"))
    (export.folder / "features.json").write_text(json.dumps(settings.to_dict()))
    return ExportOnStore(Export(export.folder), store)


def test_contents_are_found_by_id(store, other):
    vectors = dict(zip(store.content_ids.tolist(), other.content_vectors().tolist(), strict=True))
    assert vectors["a1"] == [1, 0, 0, 0]
    assert vectors["u9"] == [0, 1, 0, 0]
    assert vectors["a2"] == [0, 0, 0, 1]
    lacking = [name for name in store.content_ids.tolist() if name not in HELD]
    assert store.content_ids[other.missing].tolist() == lacking
    assert all(vectors[name] == [0, 0, 0, 0] for name in lacking)


def test_codes_are_translated_by_text(store, other):
    own = store.vocabulary("context").encode(["home", "album", "playlist", "search"])
    assert (own > 0).all()
    assert other.codes_of("context")[own].tolist() == [2, 1, 0, 0]
    assert other.codes_of("context")[0] == 0
    # ann is of "is", which the export does not know; ben is of "no", its second country. dee's
    # was not in the training period, so that the store does not know it itself.
    countries = dict(zip(store.user_ids.tolist(), other.user_codes.tolist(), strict=True))
    assert countries == {"ann": [0, 0], "ben": [0, 2], "dee": [0, 0], "eve": [0, 0]}


def test_it_is_said_what_is_missing(store, other):
    lacking = len(store.content_ids) - 3
    contents, columns = other.notes()
    assert (
        f"lacks {lacking} of the {lacking + 3} contents ({lacking / (lacking + 3):.1%}) of {store.folder}" in contents
    )
    assert f"reads plan of listeners, which {store.folder} does not hold" in columns


def test_an_export_of_other_data_is_refused(store, tmp_path):
    export = small_export(tmp_path / "export", [content("nowhere"), content("never")], np.eye(2, dtype=np.float32))
    for first_use in (ExportOnStore.content_vectors, ExportOnStore.notes):
        with pytest.raises(UserError, match=f"{export.folder}: shares no content with the store {store.folder};"):
            first_use(ExportOnStore(export, store))


def test_a_content_that_is_missing_stands_in_no_list(store, other):
    """The listener is far from all contents of the export, and still no other content is listed."""
    task = task_from_store(store, "test")
    away = -np.ones((len(task.user_rows), 4), dtype=np.float32)
    ranked = VectorRanker(task, "other", away, other.content_vectors()).rank(np.arange(len(away)), 20)
    for one in ranked.values():
        assert set(store.content_ids[one.rows[one.rows >= 0]]) <= set(HELD)
    assert (ranked["everything"].rows >= 0).any()


@pytest.fixture(scope="module")
def run(demo: tuple[Path, str]):
    """The demo's run, which reads listeners' features and no more than the last 30 events."""
    from towers.assembly.run import load_run

    (finished,) = demo[0].glob("runs/demo/*/evaluation-test")
    return load_run(finished.parent, demo[0] / "stores")


@pytest.fixture(scope="module")
def exported(demo: tuple[Path, str], run) -> ExportOnStore:
    return ExportOnStore(Export(demo[0] / "exports" / "current"), run.store)


@pytest.fixture(scope="module")
def contents(run) -> np.ndarray:
    return run.content_vectors()


@pytest.fixture(scope="module")
def axes(exported: ExportOnStore) -> np.ndarray:
    """Returns the axes, which map the run's vectors to the export's."""
    assert exported.export.axes is not None
    return exported.export.axes.astype(np.float32)


@pytest.fixture(scope="module")
def turned(contents: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return contents @ axes.T


@pytest.mark.unhooked
class TestOfATrainedRun:
    @pytest.mark.parametrize("period", ["validation", "test"])
    def test_it_says_what_it_was_trained_on(self, run, exported, period):
        export, cuts = exported.export, run.store.manifest
        until_us = export.provenance.trained_until_us
        assert until_us == export.manifest["validation_start_us"] == cuts["validation_start_us"] > 0
        assert export.manifest["test_start_us"] == cuts["test_start_us"]
        assert trained_before(run.store, period, Provenance(trained_on=export.provenance.trained_on)).passed
        assert exported.provenance == run.provenance
        assert not exported.notes()

    def test_contents_are_those_of_the_run(self, exported, turned):
        assert not len(exported.missing)
        np.testing.assert_allclose(exported.content_vectors(), turned, atol=1e-6)

    @pytest.mark.parametrize("until", ["validation", "test", "end"])
    def test_listeners_are_those_of_the_run(self, run, exported, contents, turned, axes, until):
        rows = np.arange(run.store.histories.num_users)[::-1]
        lengths = np.diff(run.store.histories.offsets)
        assert lengths.min() < 30 < lengths.max(), "both short histories and cut ones have to be among those compared"
        found = exported.user_vectors(rows, turned, until)
        np.testing.assert_allclose(found, run.user_vectors(rows, contents, until) @ axes.T, atol=1e-4)

    def test_the_end_is_what_serving_reads(self, exported, turned):
        rows = np.arange(len(exported.export.user_ids))
        np.testing.assert_allclose(exported.user_vectors(rows, turned, "end"), exported.export.user_vectors, atol=1e-4)

    def test_a_period_is_not_seen_before_it_starts(self, run, exported, turned):
        histories = run.store.histories
        rows = np.flatnonzero(np.asarray(histories.test_start) > np.asarray(histories.train_end))
        before, after = (exported.user_vectors(rows, turned, until) for until in ("validation", "test"))
        assert (np.abs(before - after).max(axis=1) > 1e-3).all()

    def test_without_a_content_it_is_an_event_without_one(self, exported, turned):
        """A history of missing contents alone differs from an empty history."""
        rows = np.arange(3)
        nothing = exported.user_vectors(rows, np.zeros_like(turned), "end")
        assert np.isfinite(nothing).all()
        assert (np.abs(nothing - exported.user_vectors(rows, turned, "end")).max(axis=1) > 1e-3).all()

    def test_nobody(self, exported, turned):
        assert exported.user_vectors(np.arange(0), turned, "end").shape == (0, turned.shape[1])

    def test_a_batch_is_its_listeners_one_by_one(self, exported):
        export = exported.export
        # The long one stands first, and is run apart from the others.
        played = (np.arange(60) % 3, np.zeros(0, np.int64))
        histories = [*map(export.plays, played), *(export.events(row) for row in range(5))]
        codes = np.concatenate([np.zeros((2, 2), np.int64), export.user_codes[:5]])
        together = export.encoder.encode_batch(histories, codes)
        for events, own, vector in zip(histories, codes, together, strict=True):
            np.testing.assert_allclose(export.encoder.encode(events, own), vector, atol=1e-5)

    @pytest.mark.parametrize("period", ["validation", "test"])
    def test_neither_reads_the_future(self, run, exported, contents, turned, period):
        rows = sampled_rows(task_from_store(run.store, period))
        for subject, read in ((run, contents), (exported, turned)):

            def vectors(store, until=period, subject=subject, read=read):
                return replace(subject, store=store).user_vectors(rows, read, until)

            check = future_leak(run.store, period, {"vectors": vectors})
            assert check.passed, check.detail
            assert future_leak(run.store, period, {"to the end": partial(vectors, until="end")}).passed is False
