"""Batches for training and validation."""

from datetime import timedelta

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data import raw_set
from towers.batch import ContentBatch, TrainingBatch
from towers.data.batches import BatchPlan, Windows
from towers.data.datamodule import DataModule, UserBatches
from towers.data.training_batches import Share, StepContents, TrainingBatches
from towers.schema import ACTIONS
from towers.training.negatives import AllTrained, InBatchAndUniform, Uniform


def plan_of(windows, seed=(0, 0, 0)):
    return BatchPlan(windows=windows, seed=seed, epoch=0, number=0, batches=1)


def whole_training(store):
    """One batch of everybody's whole training history."""
    histories = store.histories
    users = np.arange(histories.num_users)
    return Windows(user_rows=users, start=histories.offsets[:-1], end=histories.train_end)


def make_batches(store, candidates=None, **settings):
    keywords = {
        "repeat_weight": 0.25, "lookahead": 1, "num_rejections": 0, "num_fresh_sounds": 0, "crop_frames": 20,
        "has_times": False, "share": Share(), **settings,
    }  # fmt: skip
    return TrainingBatches(store, candidates or AllTrained(store.train_positives), **keywords)


def rows_at(batch, index):
    """Content rows that indices into the step's contents point at; -1 for none."""
    return torch.where(index < 0, -1, batch.content_rows[index]).tolist()


def windows_of(batch):
    """What a batch says of each window, in content rows and without padding, whatever parts it is cut into."""
    found = []
    for part in batch.micro_batches:
        histories, targets = part.histories, part.targets
        tokens = histories.action.shape[1] + 1
        for window, length in enumerate(histories.lengths.tolist()):
            own = targets.window == window
            columns = (histories.action, histories.elapsed, histories.played, histories.context)
            found.append(
                (
                    histories.user_codes[window].tolist(),
                    rows_at(batch, histories.content_index[window, :length]),
                    [column[window, :length].tolist() for column in columns],
                    (targets.position[own] - window * tokens).tolist(),
                    targets.event[own].tolist(),
                    rows_at(batch, targets.index[own]),
                    targets.weight[own].tolist(),
                    rows_at(batch, targets.rejected[own]),
                )
            )
    return found


def shared(batch):
    """What is the same on all ranks."""
    return {
        "content_rows": batch.content_rows.tolist(),
        "candidate_log_q": batch.candidate_log_q.tolist(),
        "target_rows": batch.target_rows.tolist(),
        "total_weight": batch.total_weight.item(),
        "fresh_index": batch.fresh_index.tolist(),
        "place": (batch.epoch, batch.number, batch.batches),
    }


def everything(batch):
    return shared(batch), windows_of(batch), batch.fresh_spectrograms.tolist()


@pytest.fixture(scope="module")
def batch(store) -> TrainingBatch:
    return make_batches(store)[plan_of(whole_training(store))]


@pytest.fixture(scope="module")
def targets(batch):
    (part,) = batch.micro_batches
    return part.targets


class TestTargets:
    def test_by_hand(self, store, batch, targets):
        """ann: play a1, like a1, play u9, save e1; ben: play a2, play a3."""
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
    """Two listeners who turn things down in training, and one who does after it."""
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
        """The latest first, never the target, nobody else's."""
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
    """Stretches of training histories, perhaps empty, perhaps overlapping."""
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
        """ben's b1, unsaved, is nobody's choice; a4 is heard after the first cut alone."""
        others = batch.content_rows[len(batch.candidate_log_q) :].numpy()
        assert store.content_ids[others].tolist() == ["b1"]

    def test_all_are_unique_and_both_parts_rise(self, world_store):
        data = _datamodule(world_store, Uniform(world_store.train_positives, 5))
        for batch in data.training(1):
            rows, candidates = batch.content_rows, len(batch.candidate_log_q)
            assert candidates == 5 < len(rows)
            assert len(rows.unique()) == len(rows)
            assert (rows[:candidates].diff() > 0).all()
            assert (rows[candidates:].diff() > 0).all()


ROWS = st.lists(st.integers(0, 30), max_size=12)


class TestStepContents:
    @settings(max_examples=100, deadline=None)
    @given(candidates=ROWS, others=st.lists(st.lists(st.integers(-1, 30), max_size=8), max_size=3))
    def test_candidates_then_the_rest_each_once(self, candidates, others):
        candidates = sorted(set(candidates))
        rest = {row for other in others for row in other if row >= 0} - set(candidates)
        contents = StepContents(np.array(candidates, np.int64), *(np.array(other, np.int64) for other in others))
        assert contents.rows.dtype == np.int64
        assert contents.rows.tolist() == candidates + sorted(rest)

    @settings(max_examples=100, deadline=None)
    @given(candidates=ROWS, others=st.lists(st.integers(-1, 30), max_size=12))
    def test_an_index_leads_back_to_the_row(self, candidates, others):
        contents = StepContents(np.array(sorted(set(candidates)), np.int64), np.array(others, np.int64))
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
        whole = _datamodule(world_store, candidates, **keywords).training(1)
        cut = [_datamodule(world_store, candidates, share=share, **keywords).training(1) for share in shares]
        for one, *parts in zip(whole, *cut, strict=True):
            assert all(shared(part) == shared(one) for part in parts)
            assert torch.equal(torch.cat([part.fresh_spectrograms for part in parts]), one.fresh_spectrograms)
            assert sorted(window for part in parts for window in windows_of(part)) == sorted(windows_of(one))
            weights = [micro.targets.weight for part in parts for micro in part.micro_batches]
            assert torch.cat(weights).sum().item() == pytest.approx(one.total_weight.item())

    def test_micro_batches_are_of_like_size_and_no_wider_than_they_need(self, world_store):
        data = _datamodule(world_store, AllTrained(world_store.train_positives), share=Share(micro_batches=3))
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
        batch = make_batches(store, num_fresh_sounds=1, crop_frames=1_000)[plan_of(whole_training(store))]
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
        assert (own_since <= micro.targets.time_s).all()  # nobody chooses what is not there

    def test_unless_nobody_asks(self, store):
        batch = make_batches(store)[plan_of(whole_training(store))]
        assert not batch.candidate_since_s.any()
        assert not batch.micro_batches[0].targets.time_s.any()

    def test_without_a_clock_it_is_refused(self, store, monkeypatch):
        monkeypatch.setitem(store.manifest, "has_clock", False)
        with pytest.raises(ValueError, match="mask_unavailable=true: the data has no clock"):
            _datamodule(store, AllTrained(store.train_positives), has_times=True)


def _datamodule(store, candidates, validation_users=(), **settings):
    keywords = {
        "has_sound": True, "num_rejections": 0, "has_times": False, "seed": 0, "share": Share(),
        "max_length": 15,
        "max_tokens": 100, "repeat_weight": 0.2, "lookahead": 1, "num_fresh_sounds": 4, "crop_s": 0.5,
        "num_workers": 0, **settings,
    }  # fmt: skip
    return DataModule(store=store, candidates=candidates, validation_users=np.array(validation_users, int), **keywords)


class TestDataModule:
    def test_the_crop_is_given_in_seconds(self, world_store):
        data = _datamodule(world_store, AllTrained(world_store.train_positives))
        batch = next(iter(data.training(2)))
        assert batch.fresh_spectrograms.shape == (4, 16, 50)

    def test_a_deaf_model_is_sent_no_sound(self, world_store):
        data = _datamodule(world_store, AllTrained(world_store.train_positives), has_sound=False)
        assert all(len(batch.fresh_index) == 0 for batch in data.training(2))

    def test_every_epoch_holds_every_target_once(self, world_store):
        positives = world_store.train_positives
        found = np.zeros((3, len(positives)), np.int64)
        for batch in _datamodule(world_store, AllTrained(positives)).training(3):
            (part,) = batch.micro_batches
            assert rows_at(batch, part.targets.index) == batch.target_rows.tolist()
            np.add.at(found[batch.epoch], batch.target_rows.numpy(), 1)
        assert (found == positives).all()

    @pytest.mark.parametrize("number", [0, 2])
    def test_a_run_goes_on_where_it_is_told_to(self, world_store, number):
        candidates = InBatchAndUniform(world_store.train_positives, num_uniform=5, in_batch=True)
        data = _datamodule(world_store, candidates)
        whole, rest = data.training(2), data.training(2, 1, number)
        expected = [everything(batch) for batch in whole if (batch.epoch, batch.number) >= (1, number)]
        assert len(expected) > 1
        assert [everything(batch) for batch in rest] == expected

    @pytest.mark.unhooked
    def test_processes_beside_draw_the_same(self, world_store):
        candidates = InBatchAndUniform(world_store.train_positives, num_uniform=5, in_batch=True)
        keywords = {"lookahead": 3, "num_rejections": 2}
        alone = _datamodule(world_store, candidates, **keywords).training(2, 0, 1)
        beside = _datamodule(world_store, candidates, num_workers=1, **keywords).training(2, 0, 1)
        for one, other in zip(alone, beside, strict=True):
            assert everything(one) == everything(other)

    @pytest.mark.parametrize("name", ["max_length", "max_tokens", "lookahead"])
    def test_nothing_is_no_length(self, store, name):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            _datamodule(store, AllTrained(store.train_positives), **{name: 0})

    def test_validation_sees_what_came_before_the_cut_and_no_more(self, store):
        users = [0, 1, 3]  # ann, ben, eve
        data = _datamodule(store, AllTrained(store.train_positives), users, max_length=3)
        (batch,) = data.validation()
        ids = [*store.content_ids.tolist(), None]
        found = [[ids[place] for place in row] for row in batch.content_index.tolist()]
        assert found == [["u9", "e1", "a1"], ["a2", "b1", "a3"], [None, None, None]]
        assert batch.lengths.tolist() == [3, 3, 0]

    def test_validation_keeps_the_order_of_the_listeners(self, world_store):
        users = np.random.default_rng(0).permutation(world_store.histories.num_users)[:10]
        end = world_store.histories.test_start
        batches = UserBatches(world_store, end, users, max_length=200, max_tokens=150)
        assert len(batches) > 1
        lengths = torch.cat([batch.lengths for batch in batches]).tolist()
        assert lengths == (end[users] - world_store.histories.offsets[users]).tolist()


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
