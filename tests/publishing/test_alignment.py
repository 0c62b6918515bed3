"""The rule that keeps or changes the space, on listeners of plain taste and versions with planted drift."""

import copy
from dataclasses import replace

import numpy as np
import pytest

from tests.publishing.listening import (
    BEFORE,
    DIM,
    LISTENERS,
    TASTES,
    export_of,
    listeners_of,
    unit,
    vectors_by_taste,
    with_manifest,
)
from tests.retrieval.small_export import SPACE
from tests.retrieval.test_rotation import orthogonal
from towers.evaluation.from_store import task_from_store
from towers.publishing.alignment import MAPPED, NEW_NEW, OLD_OLD, UNMAPPED, Alignment, align, share_interval
from towers.publishing.held_out import HeldOutListening
from towers.retrieval.export import Export
from towers.retrieval.rotation import SpaceVersion

NEW = SpaceVersion(version="new", space_id="its own")


@pytest.fixture(scope="module")
def held_out(listening) -> HeldOutListening:
    """The held-out listening without contents heard before, which would stand before the targets."""
    return HeldOutListening(listening, min_users=5, filter_seen=True)


@pytest.fixture(scope="module")
def earlier(listening, tmp_path_factory) -> Export:
    """The earlier export, whose space is to be kept. It is only read."""
    folder = tmp_path_factory.mktemp("exports") / "earlier"
    return export_of(folder, listening, vectors_by_taste(listening, 0), listening.user_ids.tolist())


@pytest.fixture
def changeable(listening, tmp_path) -> Export:
    return export_of(tmp_path / "earlier", listening, vectors_by_taste(listening, 0), listening.user_ids.tolist())


def aligned(earlier: Export, held_out: HeldOutListening, vectors: np.ndarray, **settings) -> Alignment:
    """Aligns a new version whose listeners are computed from its contents as the earlier one's are."""
    users = listeners_of(held_out.store, held_out.user_rows, vectors)
    return align(earlier, held_out, vectors, users, NEW, **settings)


def test_a_turned_space_is_turned_back(listening, held_out, earlier):
    turn = orthogonal(DIM, 3)
    vectors = (vectors_by_taste(listening, 0) @ turn).astype(np.float32)
    found = aligned(earlier, held_out, vectors)
    assert found.keeps_space
    np.testing.assert_allclose(found.matrix, turn, atol=1e-5)
    np.testing.assert_allclose(vectors @ found.matrix.T, earlier.vectors, atol=1e-5)
    assert found.rotation is not None
    assert (found.rotation.source, found.rotation.target.space_id) == (NEW, SPACE)
    report = found.report
    recall = report["recall@20"]
    assert recall[NEW_NEW] == pytest.approx(recall[OLD_OLD]) == pytest.approx(recall[MAPPED])
    assert recall[UNMAPPED] < 0.5 * recall[MAPPED]
    assert report["recall_share"] == pytest.approx(1)
    assert report["recall_share_95%"] == pytest.approx([1, 1])
    assert (report["shared_contents"], report["listeners"]) == (len(vectors), LISTENERS)
    assert report["drift"]["cosine_after_map"] == pytest.approx(1)


def test_another_training_of_the_same_tastes_keeps_the_space(listening, held_out, earlier):
    """Contents have other directions within their taste, and so have tastes, as between two seeds."""
    vectors = (vectors_by_taste(listening, 1) @ orthogonal(DIM, 3)).astype(np.float32)
    found = aligned(earlier, held_out, vectors)
    low, high = found.report["recall_share_95%"]
    assert found.keeps_space
    assert 0.9 < low <= found.report["recall_share"] <= high
    assert found.report["drift"]["cosine_after_map"] > 0.5 > found.report["drift"]["cosine_before_map"]


def strangers(listening, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Contents that moved at random, each by itself, and listeners at their targets: new ones find these, and old ones
    the less, the further contents moved.
    """
    moves = np.random.default_rng(1).normal(size=(len(listening.content_ids), DIM))
    vectors = unit(vectors_by_taste(listening, 0) + spread * moves).astype(np.float32)
    targets = task_from_store(listening, "test").ranked_targets
    users = unit(np.stack([vectors[rows].mean(axis=0) for rows in (targets[at] for at in range(len(targets)))]))
    return vectors, users.astype(np.float32)


def test_it_is_the_share_that_decides(listening, held_out, earlier):
    vectors, users = strangers(listening, spread=0.5)
    found = align(earlier, held_out, vectors, users, NEW)
    share = found.report["recall_share"]
    recall = found.report["recall@20"]
    assert share == recall[MAPPED] / recall[NEW_NEW]
    assert 0.5 < share < 1
    for limit, keeps in ((share, True), (share + 1e-6, False)):
        at_limit = align(earlier, held_out, vectors, users, NEW, min_recall_share=limit)
        assert at_limit.keeps_space is at_limit.report["keeps_space"] is keeps
        assert (at_limit.matrix is not None) is keeps
        assert at_limit.rotation is not None
    assert "less than" in at_limit.report["reason"]


def test_strangers_do_not_share_a_space(listening, held_out, earlier):
    found = align(earlier, held_out, *strangers(listening, spread=5.0), NEW)
    assert found.report["recall@20"][NEW_NEW] > 0.4
    assert found.report["recall_share"] < 0.5
    assert not found.keeps_space
    assert found.matrix is None


def test_contents_are_found_by_id_and_unknown_ones_are_events_without_content(listening, held_out, tmp_path):
    """The earlier version holds the contents in another order, and lacks some."""
    vectors = vectors_by_taste(listening, 0)
    whole = aligned(export_of(tmp_path / "whole", listening, vectors, listening.user_ids.tolist()), held_out, vectors)
    order = np.random.default_rng(0).permutation(len(vectors))[:-20]
    part = export_of(tmp_path / "part", listening, vectors, listening.user_ids.tolist(), order)
    found = aligned(part, held_out, vectors)
    assert found.report["shared_contents"] == len(vectors) - 20
    np.testing.assert_allclose(found.matrix, np.eye(DIM), atol=1e-5)
    assert found.report["recall@20"][NEW_NEW] == whole.report["recall@20"][NEW_NEW]
    assert found.report["recall_share"] > 0.9
    assert found.report["recall@20"][OLD_OLD] < found.report["recall@20"][MAPPED]


def test_the_earlier_tower_reads_its_own_inputs(listening, held_out, changeable):
    """A truncated export keeps its inputs beside its vectors. If they were negated, so would its listeners be."""
    vectors = np.asarray(changeable.vectors)
    np.save(changeable.folder / "content_inputs.npy", -vectors)
    recall = aligned(changeable, held_out, vectors).report["recall@20"]
    assert recall[OLD_OLD] == recall[MAPPED] == 0 < recall[NEW_NEW]


def test_it_is_fitted_on_what_both_trainings_have_seen_chosen(listening, held_out, changeable):
    """Contents that were first chosen later, by listeners of either training, do not count."""
    chosen = listening.train_positives > 0
    assert 0 < chosen.sum() <= len(chosen) <= TASTES * BEFORE * 2
    everything = aligned(changeable, held_out, changeable.vectors)
    assert everything.report["trained_in_both"] == chosen.sum()
    # small_export has the first listener choose every content in the order of rows, a microsecond each.
    early = with_manifest(changeable, trained_until_us=20)
    assert aligned(early, held_out, early.vectors).report["trained_in_both"] == chosen[:20].sum()


class TestNothingToJudgeBy:
    def changes(self, found: Alignment, reason: str) -> None:
        assert not found.keeps_space
        assert found.matrix is None
        assert reason in found.report["reason"]
        assert found.report["keeps_space"] is False
        assert "recall_share" not in found.report

    def test_other_dimensions(self, held_out, earlier):
        vectors = np.pad(np.asarray(earlier.vectors), ((0, 0), (0, 8)))
        found = aligned(earlier, held_out, vectors)
        self.changes(found, "the earlier version has 8 dimensions, the new one 16")
        assert found.rotation is None

    def test_too_few_contents(self, held_out, changeable):
        few = with_manifest(changeable, trained_until_us=3)
        found = aligned(few, held_out, few.vectors)
        self.changes(found, "contents were chosen in both trainings, too few to fit a rotation of 8 dimensions")
        assert found.rotation is None

    def test_too_few_listeners(self, listening, earlier):
        judged = HeldOutListening(listening, min_users=LISTENERS + 1)
        self.changes(aligned(earlier, judged, earlier.vectors), f"at least {LISTENERS + 1} are needed")

    def test_other_listeners(self, listening, held_out, tmp_path):
        strangers = export_of(tmp_path / "strangers", listening, vectors_by_taste(listening, 0), ["nobody", "u01"])
        found = aligned(strangers, held_out, strangers.vectors)
        self.changes(found, f"holds 1 of the {LISTENERS} listeners of the test period; at least 5 are needed")
        assert found.rotation is not None

    def test_nobody_in_the_test_period(self, listening, earlier):
        histories = listening.histories
        untested = copy.copy(listening)
        untested.histories = replace(histories, test_start=histories.offsets[1:])
        judged = HeldOutListening(untested, min_users=5)
        self.changes(aligned(earlier, judged, earlier.vectors), "no listener chooses anything in the test period")

    @pytest.mark.parametrize(("until", "why"), [(2**51, "trained before the test"), (None, "is not known")])
    def test_trained_on_what_is_to_be_found(self, held_out, changeable, until, why):
        late = with_manifest(changeable, trained_until_us=until)
        self.changes(aligned(late, held_out, late.vectors), why)


def test_the_interval_of_a_share():
    """A ranker that finds half of the other's targets for every listener finds half of them in every draw."""
    whole = np.random.default_rng(0).uniform(size=200)
    assert share_interval(whole / 2, whole) == pytest.approx((0.5, 0.5))
    half_of_listeners = np.where(np.arange(200) % 2, whole, 0)
    low, high = share_interval(half_of_listeners, whole)
    assert 0.35 < low < 0.5 < high < 0.65
    assert share_interval(np.zeros(3), np.zeros(3)) == (0, 0)
