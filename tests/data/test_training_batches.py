"""Windows, targets, contents and sounds of a training batch."""

from datetime import timedelta

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data import raw_set
from tests.data.batch_contents import (
    everything,
    loaders,
    make_batches,
    plan_of,
    rows_at,
    shared,
    whole_training,
    windows_of,
)
from towers.batch import ContentBatch, TrainingBatch
from towers.contract.schema import ACTIONS
from towers.data.batches import Windows
from towers.data.training_batches import Share, StepContents
from towers.errors import UserError
from towers.training.objectives.negatives import AllTrained, InBatchAndUniform, Uniform


@pytest.fixture(scope="module")
def batch(store) -> TrainingBatch:
    return make_batches(store)[plan_of(whole_training(store))]


@pytest.fixture(scope="module")
def targets(batch):
    (part,) = batch.micro_batches
    return part.targets


class TestTargets:
    def test_by_hand(self, store, batch, targets):
        """The histories are ann: play a1, like a1, play u9, save e1; ben: play a2, play a3."""
        assert store.content_ids[rows_at(batch, targets.index)].tolist() == ["a1", "a1", "u9", "e1", "a2", "a3"]
        assert targets.weight.tolist() == [1, 0.25, 1, 1, 1, 1]
        assert targets.window.tolist() == [0, 0, 0, 0, 1, 1]
        assert targets.event.tolist() == [0, 2, 4, 5, 1, 3]
        # ann's 7 events and her own token; the state that predicts event i is token i: it has seen what came before.
        assert targets.position.tolist() == [0, 2, 4, 5, 8 + 1, 8 + 3]
        assert targets.rejected.shape == (6, 0)

    def test_all_of_them_and_their_weight(self, store, batch):
        assert store.content_ids[batch.target_rows.numpy()].tolist() == ["a1", "a1", "u9", "e1", "a2", "a3"]
        assert batch.total_weight == 5.25

    def test_no_target_at_all(self, store):
        start = store.histories.offsets[:1] + 3  # ann's search
        windows = Windows(user_rows=np.zeros(1, np.int64), start=start, end=start + 1)
        batch = make_batches(store, num_rejections=2, lookahead=3)[plan_of(windows)]
        (part,) = batch.micro_batches
        assert part.targets.rejected.shape == (0, 2)
        assert 0 < batch.total_weight < 1e-6  # a loss of 0 is divided by it

    def test_repeats_weigh_what_they_are_told_to(self, world_store):
        batch = make_batches(world_store, repeat_weight=0.125)[plan_of(whole_training(world_store))]
        for _, _, _, _, _, rows, weights, _ in windows_of(batch):
            assert weights == [0.125 if row in rows[:place] else 1 for place, row in enumerate(rows)]

    def test_with_lookahead_an_earlier_state_predicts_it(self, world_store):
        plan = plan_of(whole_training(world_store))
        (close,) = make_batches(world_store)[plan].micro_batches
        (far,) = make_batches(world_store, lookahead=3)[plan].micro_batches
        assert torch.equal(close.targets.index, far.targets.index)
        back = close.targets.position - far.targets.position
        assert set(back.tolist()) == {0, 1, 2}
        assert (back <= far.targets.event).all()  # no state before the listener's own token


@pytest.fixture(scope="module")
def sulking(tmp_path_factory, make_builder):
    """A store with two listeners who reject contents in training, and one who does after it."""
    said = {
        "ben": "skip a1, dislike a2, like a3, search -, unsave b1, skip e1, like a1, like e1, like a3, dislike b1",
        "dee": "like a1, skip a2, like a4",
    }
    folder = tmp_path_factory.mktemp("sulking")
    raw = raw_set.write_raw(folder / "raw")
    for part in (raw / "events").iterdir():
        part.unlink()
    events = [event for event in raw_set.ANN if event[2] >= raw_set.TEST_START]
    for user, words in said.items():
        for minute, (action, content) in enumerate(word.split() for word in words.split(", ")):
            at = raw_set.START + timedelta(minutes=minute)
            events.append((user, None if content == "-" else content, at, action, None, None))
    raw_set.write_events(raw, events)
    return make_builder(raw, folder / "stores").build()[0]


class TestRejections:
    @pytest.mark.parametrize("num_rejections", [1, 2, 3, 5])
    def test_by_hand(self, sulking, num_rejections):
        """The latest come first, never the target, and never another listener's."""
        batch = make_batches(sulking, num_rejections=num_rejections)[plan_of(whole_training(sulking))]
        (part,) = batch.micro_batches
        ids = [*sulking.content_ids.tolist(), None]
        targets = [ids[row] for row in rows_at(batch, part.targets.index)]
        rejected = [[ids[row] for row in rows] for rows in rows_at(batch, part.targets.rejected)]
        expected = [
            ("a3", ["a2", "a1", None, None, None]),
            ("a1", ["e1", "a2", None, None, None]),
            ("e1", [None, "a2", "a1", None, None]),
            ("a3", ["e1", "a2", "a1", None, None]),
            ("a1", [None, None, None, None, None]),
            ("a4", ["a2", None, None, None, None]),
        ]
        assert list(zip(targets, rejected, strict=True)) == [(row, ids[:num_rejections]) for row, ids in expected]


@st.composite
def random_windows(draw, store):
    """Draws stretches of training histories, perhaps empty, perhaps overlapping."""
    histories = store.histories
    users = draw(st.lists(st.integers(0, histories.num_users - 1), min_size=1, max_size=6))
    start, end = [], []
    for user in users:
        borders = st.integers(int(histories.offsets[user]), int(histories.train_end[user]))
        first, last = sorted(draw(st.tuples(borders, borders)))
        start.append(first)
        end.append(last)
    return Windows(user_rows=np.array(users), start=np.array(start), end=np.array(end))


class TestContents:
    @settings(max_examples=40, deadline=None)
    @given(data=st.data(), num_uniform=st.integers(1, 12))
    def test_every_index_points_at_the_events_content(self, world_store, data, num_uniform):
        windows = data.draw(random_windows(world_store))
        candidates = Uniform(world_store.train_positives, num_uniform)  # so some targets are candidates, some not
        batch = make_batches(world_store, candidates, num_rejections=2)[plan_of(windows)]
        histories = world_store.histories
        for start, end, said in zip(windows.start, windows.end, windows_of(batch), strict=True):
            rows = histories.content_row[start:end].tolist()
            actions = [ACTIONS[action] for action in histories.action[start:end]]
            _, heard, _, states, events, targets, _, rejected = said
            assert heard == rows
            assert events == np.flatnonzero(histories.is_positive[start:end]).tolist()
            assert states == events
            assert targets == [rows[event] for event in events]
            for event, found in zip(events, rejected, strict=True):
                turned_down = [rows[e] for e in range(event) if actions[e] in ("skip", "dislike")]
                latest = [-1 if row == rows[event] else row for row in turned_down[::-1]]
                assert found == [*latest, -1, -1][:2]

    def test_candidates_come_first_and_are_what_the_sampler_gave(self, store, batch):
        trained = np.flatnonzero(store.train_positives > 0)
        assert batch.content_rows[: len(trained)].tolist() == trained.tolist()
        assert batch.candidate_log_q.tolist() == [0] * len(trained)

    def test_what_else_is_heard_stands_behind_them(self, store, batch):
        """Content b1, unsaved by ben, was chosen by no listener; a4 is heard after the first cut alone."""
        others = batch.content_rows[len(batch.candidate_log_q) :].numpy()
        assert store.content_ids[others].tolist() == ["b1"]

    def test_all_are_unique_and_both_parts_rise(self, world_store):
        data = loaders(world_store, Uniform(world_store.train_positives, 5))
        for batch in data.training(1):
            rows, candidates = batch.content_rows, len(batch.candidate_log_q)
            assert candidates == 5 < len(rows)
            assert len(rows.unique()) == len(rows)
            assert (rows[:candidates].diff() > 0).all()
            assert (rows[candidates:].diff() > 0).all()


ROWS = st.lists(st.integers(0, 30), max_size=12)
LEFT = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=32, max_size=32) | st.permutations(range(32))
"""Remains of earlier steps, which must have no effect."""


class TestStepContents:
    @settings(max_examples=100, deadline=None)
    @given(left=LEFT, candidates=ROWS, others=st.lists(st.lists(st.integers(-1, 30), max_size=8), max_size=3))
    def test_candidates_then_the_rest_each_once(self, left, candidates, others):
        candidates = sorted(set(candidates))
        rest = {row for other in others for row in other if row >= 0} - set(candidates)
        rows = [np.array(each, np.int64) for each in (candidates, *others)]
        contents = StepContents(np.array(left, np.int32), *rows)
        assert contents.rows.dtype == np.int64
        assert contents.rows.tolist() == candidates + sorted(rest)

    @settings(max_examples=100, deadline=None)
    @given(left=LEFT, candidates=ROWS, others=st.lists(st.integers(-1, 30), max_size=12))
    def test_an_index_leads_back_to_the_row(self, left, candidates, others):
        known = np.array(sorted(set(candidates)), np.int64)
        contents = StepContents(np.array(left, np.int32), known, np.array(others, np.int64))
        rows = np.array([[*candidates, *others, -1]])
        index = contents.index(rows)
        assert index.shape == rows.shape
        assert ((index < 0) == (rows < 0)).all()
        assert np.append(contents.rows, -1)[index].tolist() == rows.tolist()


class TestShare:
    @settings(max_examples=60)
    @given(total=st.integers(0, 20), ranks=st.integers(1, 8))
    def test_parts_are_neighbours_and_cover_all(self, total, ranks):
        parts = [range(total)[Share(rank=rank, ranks=ranks).of(total)] for rank in range(ranks)]
        assert [place for part in parts for place in part] == list(range(total))
        assert len(parts[0]) == max(map(len, parts)) == -(-total // ranks)

    @pytest.mark.parametrize(("ranks", "micro_batches"), [(2, 1), (1, 2), (2, 2), (3, 5)])
    def test_a_step_is_the_same_however_it_is_cut(self, world_store, ranks, micro_batches):
        keywords = {"lookahead": 3, "num_rejections": 2, "num_fresh_sounds": 5}
        candidates = InBatchAndUniform(world_store.train_positives, num_uniform=5, in_batch=True)
        shares = [Share(rank=rank, ranks=ranks, micro_batches=micro_batches) for rank in range(ranks)]
        whole = loaders(world_store, candidates, **keywords).training(1)
        cut = [loaders(world_store, candidates, share=share, **keywords).training(1) for share in shares]
        for one, *parts in zip(whole, *cut, strict=True):
            assert all(shared(part) == shared(one) for part in parts)
            assert torch.equal(torch.cat([part.fresh_spectrograms for part in parts]), one.fresh_spectrograms)
            assert sorted(window for part in parts for window in windows_of(part)) == sorted(windows_of(one))
            weights = [micro.targets.weight for part in parts for micro in part.micro_batches]
            assert torch.cat(weights).sum().item() == pytest.approx(one.total_weight.item())

    def test_micro_batches_are_of_like_size_and_no_wider_than_they_need(self, world_store):
        data = loaders(world_store, AllTrained(world_store.train_positives), share=Share(micro_batches=3))
        for batch in data.training(2):
            sizes = [len(part.histories.lengths) for part in batch.micro_batches]
            assert max(sizes) - min(sizes) <= 1
            for part in batch.micro_batches:
                assert part.histories.action.shape[1] == part.histories.lengths.max()

    def test_a_rank_without_windows_still_knows_the_step(self, store):
        windows = whole_training(store).take(np.array([0]))
        first, second = (make_batches(store, share=Share(rank=rank, ranks=2))[plan_of(windows)] for rank in (0, 1))
        assert len(first.micro_batches) == 1
        assert second.micro_batches == ()
        assert shared(first) == shared(second)


class TestFreshSounds:
    def test_crops_are_of_the_right_record(self, store):
        batch = make_batches(store, num_fresh_sounds=3)[plan_of(whole_training(store))]
        assert batch.fresh_spectrograms.shape == (3, 16, 20)
        rows = batch.content_rows[batch.fresh_index].tolist()
        assert len(set(rows)) == 3
        for row, crop in zip(rows, batch.fresh_spectrograms.numpy(), strict=True):
            record = store.spectrograms.records[store.audio_rows[row]].astype(np.float32)
            assert any(np.array_equal(crop, record[:, start : start + 20]) for start in range(81))

    def test_no_more_than_there_are(self, store):
        batch = make_batches(store, num_fresh_sounds=100)[plan_of(whole_training(store))]
        assert sorted(store.content_ids[batch.content_rows[batch.fresh_index].numpy()]) == ["a1", "a2", "e1"]

    def test_no_longer_than_the_record(self, store):
        batch = make_batches(store, num_fresh_sounds=1, crop_s=10.0)[plan_of(whole_training(store))]
        assert batch.fresh_spectrograms.shape[2] == 100

    def test_none(self, batch):
        assert len(batch.fresh_index) == 0
        assert len(batch.fresh_spectrograms) == 0


def test_the_plans_seed_fixes_the_batch(store):
    candidates = InBatchAndUniform(store.train_positives, num_uniform=2, in_batch=False)
    batches = make_batches(store, candidates, num_fresh_sounds=2, lookahead=3)

    def drawn(seed):
        return everything(batches[plan_of(whole_training(store), seed)])

    first = drawn((1, 2, 3))
    assert drawn((1, 2, 3)) == first
    others = [drawn((1, 2, number)) for number in range(4, 12)]
    for what in range(3):  # what is shared, the windows, the crops
        assert any(other[what] != first[what] for other in others)


class TestTimes:
    def test_a_target_says_when_it_happened_and_a_candidate_since_when_it_is_there(self, store):
        batch = make_batches(store, has_times=True)[plan_of(whole_training(store))]
        times, rows = np.asarray(store.histories.timestamp_us), np.asarray(store.histories.content_row)
        beginning = times[rows >= 0].min()
        for place, row in enumerate(batch.content_rows[: len(batch.candidate_log_q)].tolist()):
            assert batch.candidate_since_s[place] == (times[rows == row].min() - beginning) // 1_000_000
        (micro,) = batch.micro_batches
        places = store.histories.offsets[micro.targets.window] + micro.targets.event.numpy()
        assert micro.targets.time_s.tolist() == ((times[places] - beginning) // 1_000_000).tolist()
        own_since = batch.candidate_since_s[micro.targets.index]
        assert (own_since <= micro.targets.time_s).all()  # no content is chosen before it exists

    def test_unless_nobody_asks(self, store):
        batch = make_batches(store)[plan_of(whole_training(store))]
        assert not batch.candidate_since_s.any()
        assert not batch.micro_batches[0].targets.time_s.any()

    def test_without_a_clock_it_is_refused(self, store, monkeypatch):
        monkeypatch.setitem(store.manifest, "has_clock", False)
        with pytest.raises(UserError, match=r"^datamodule: objective\.mask_unavailable=true: the data has no clock"):
            loaders(store, AllTrained(store.train_positives), has_times=True)


class TestMoving:
    def test_all_tensors_of_a_batch_move(self, batch):
        moved = batch.to("meta")
        assert moved.name == batch.name == "batch 0 of epoch 0"
        (part,) = moved.micro_batches
        assert all(tensor.is_meta for tensor in (moved.content_rows, part.histories.action, part.targets.rejected))

    def test_and_of_contents(self):
        contents = ContentBatch(
            rows=torch.arange(2),
            parts={"genre": torch.zeros(2, 3, dtype=torch.int64)},
            audio=torch.zeros(2, 4),
            has_audio=torch.zeros(2, dtype=torch.bool),
        )
        assert contents.to("meta").parts["genre"].is_meta
