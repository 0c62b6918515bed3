"""Windows of histories, and batches of windows."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.data.batches import PlanSampler, cut_windows, fill_batches, last_windows

LENGTHS = st.lists(st.integers(0, 40), max_size=12)


def borders(lengths, gap=3):
    """Returns begin and end of each history's training events in the flat columns; events after training lie between
    them.
    """
    begin = np.cumsum([0, *(length + gap for length in lengths)])[:-1].astype(np.int64)
    return begin, begin + np.asarray(lengths, dtype=np.int64)


class TestCutWindows:
    @settings(max_examples=60)
    @given(lengths=LENGTHS, max_length=st.integers(1, 15), seed=st.none() | st.integers(0, 99))
    def test_every_event_is_in_one_window_of_its_listener(self, lengths, max_length, seed):
        begin, end = borders(lengths)
        generator = None if seed is None else np.random.default_rng(seed)
        windows = cut_windows(begin, end, max_length, generator)
        assert (windows.end - windows.start <= max_length).all()
        covered = [
            (user, place)
            for user, start, stop in zip(windows.user_rows, windows.start, windows.end, strict=True)
            for place in range(start, stop)
        ]
        assert covered == [(user, place) for user in range(len(lengths)) for place in range(begin[user], end[user])]

    def test_by_hand(self):
        windows = cut_windows(*borders([7, 2, 0]), 3)
        assert list(zip(windows.user_rows, windows.start, windows.end, strict=True)) == [
            (0, 0, 1), (0, 1, 4), (0, 4, 7), (1, 10, 12),
        ]  # fmt: skip

    def test_borders_move_from_draw_to_draw(self):
        generator = np.random.default_rng(0)
        firsts = {int(cut_windows(*borders([30]), 10, generator).end[0]) for _ in range(50)}
        assert firsts == set(range(1, 11))


def test_last_windows_by_hand():
    begin, end = borders([7, 2, 0])
    windows = last_windows(begin, end, 3, np.array([2, 0, 1]))
    assert windows.user_rows.tolist() == [2, 0, 1]
    assert windows.start.tolist() == [15, 4, 10]
    assert windows.end.tolist() == [15, 7, 12]


class TestFillBatches:
    @settings(max_examples=60)
    @given(lengths=st.lists(st.integers(1, 50), max_size=40), max_tokens=st.integers(1, 120))
    def test_covers_all_in_order_within_the_budget(self, lengths, max_tokens):
        lengths = np.array(lengths, dtype=np.int64)
        batches = fill_batches(lengths, max_tokens)
        assert [place for batch in batches for place in batch] == list(range(len(lengths)))
        for batch in batches:
            assert len(batch) == 1 or len(batch) * lengths[batch].max() <= max_tokens

    @settings(max_examples=30)
    @given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=40), max_tokens=st.integers(1, 120))
    def test_one_more_would_not_fit(self, lengths, max_tokens):
        lengths = np.array(lengths, dtype=np.int64)
        for batch in fill_batches(lengths, max_tokens)[:-1]:
            longer = lengths[batch[0] : batch[-1] + 2]
            assert len(longer) * longer.max() > max_tokens

    def test_by_hand(self):
        assert [batch.tolist() for batch in fill_batches(np.array([2, 2, 3, 9, 1]), 6)] == [[0, 1], [2], [3], [4]]


class TestPlanSampler:
    LENGTHS = np.random.default_rng(0).integers(0, 60, 50)
    EPOCHS = 3

    @pytest.fixture
    def make(self):
        return lambda seed=0, epoch=0, number=0, max_batches=None: PlanSampler(
            *borders(self.LENGTHS), max_length=20, max_tokens=200, seed=seed
        ).going(self.EPOCHS, epoch, number, max_batches)

    @staticmethod
    def drawn(sampler, epoch=None):
        """Returns (epoch, number, batches), seed and windows of each plan, of one epoch or of all."""
        return [
            (
                (plan.epoch, plan.number, plan.batches),
                plan.seed,
                list(zip(plan.windows.user_rows, plan.windows.start, plan.windows.end, strict=True)),
            )
            for plan in sampler
            if epoch in (None, plan.epoch)
        ]

    def test_the_same_seed_draws_the_same(self, make):
        assert self.drawn(make()) == self.drawn(make())

    def test_it_can_be_drawn_again(self, make):
        sampler = make()
        assert self.drawn(sampler) == self.drawn(sampler)

    def test_other_epochs_and_seeds_differ(self, make):
        windows = [[plan[2] for plan in self.drawn(make(seed), epoch)] for seed, epoch in ((0, 0), (0, 1), (1, 0))]
        assert windows[0] != windows[1]
        assert windows[0] != windows[2]

    def test_what_is_drawn_for_a_batch_differs_from_batch_to_batch(self, make):
        seeds = [seed for run in (make(0), make(1)) for _, seed, _ in self.drawn(run)]
        assert len(set(seeds)) == len(seeds)

    @pytest.mark.parametrize("epoch", range(EPOCHS))
    def test_every_epoch_holds_every_event_once(self, make, epoch):
        found = sorted(
            (user, place)
            for _, _, windows in self.drawn(make(), epoch)
            for user, start, end in windows
            for place in range(start, end)
        )
        begins, ends = borders(self.LENGTHS)
        assert found == [
            (user, place)
            for user, (begin, end) in enumerate(zip(begins, ends, strict=True))
            for place in range(begin, end)
        ]

    def test_plans_are_counted(self, make):
        for epoch in range(self.EPOCHS):
            counts = [count for count, _, _ in self.drawn(make(), epoch)]
            assert counts == [(epoch, number, len(counts)) for number in range(len(counts))]

    def test_from_any_batch_on_it_is_the_rest_of_the_whole_run(self, make):
        sampler = make()
        whole = self.drawn(sampler)
        for place, ((epoch, number, batches), _, _) in enumerate(whole):
            assert self.drawn(make(0, epoch, number)) == whole[place:]
            if number == batches - 1:  # where a run stops after the last batch of an epoch
                assert self.drawn(make(0, epoch, batches)) == whole[place + 1 :]

    def test_a_start_leaves_the_others_alone(self, make):
        sampler = make()
        late = sampler.going(self.EPOCHS, self.EPOCHS - 1, 0, None)
        assert self.drawn(sampler) == self.drawn(make())
        assert self.drawn(late) == self.drawn(make(), self.EPOCHS - 1)

    def test_some_batches_of_each_epoch(self, make):
        whole = self.drawn(make())
        expected = [((epoch, number, 2), *rest) for (epoch, number, _), *rest in whole if number < 2]
        assert self.drawn(make(max_batches=2)) == expected
        assert self.drawn(make(0, 1, 1, 2)) == expected[3:]

    def test_without_an_end(self, make):
        whole = self.drawn(make())
        for_ever = make().going(-1, 0, 0, None)
        plans = list(itertools.islice(for_ever, len(whole) + 1))
        assert self.drawn(plans[:-1]) == whole
        assert plans[-1].epoch == self.EPOCHS

    def test_padded_tokens_stay_within_the_budget(self, make):
        for _, _, windows in self.drawn(make()):
            assert len(windows) * max(end - start + 1 for _, start, end in windows) <= 200

    def test_windows_of_like_length_stand_together(self, make):
        tokens = [[end - start + 1 for _, start, end in windows] for _, _, windows in self.drawn(make())]
        padded = sum(len(batch) * max(batch) for batch in tokens)
        assert sum(map(sum, tokens)) / padded > 0.85

    def test_nobody_did_anything(self):
        nobody = np.zeros(3, np.int64)
        assert list(PlanSampler(nobody, nobody, max_length=5, max_tokens=10, seed=0).going(2, 0, 0, None)) == []
