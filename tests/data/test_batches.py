"""Windows of histories, and batches of windows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.data.batches import EpochSampler, cut_windows, fill_batches, last_windows

LENGTHS = st.lists(st.integers(0, 40), max_size=12)


def borders(lengths, gap=3):
    """Begin and end of each history's training events in the flat columns; events after training between them."""
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


class TestEpochSampler:
    @pytest.fixture
    def make(self):
        lengths = np.random.default_rng(0).integers(0, 60, 50)
        return lambda seed=0: EpochSampler(*borders(lengths), max_length=20, max_tokens=200, seed=seed)

    @staticmethod
    def drawn(sampler, epoch):
        sampler.set_epoch(epoch)
        return [
            (plan.seed, plan.windows.user_rows.tolist(), plan.windows.start.tolist(), plan.windows.end.tolist())
            for plan in sampler
        ]

    def test_the_same_seed_draws_the_same(self, make):
        assert self.drawn(make(), 3) == self.drawn(make(), 3)

    def test_an_epoch_can_be_drawn_again_at_any_time(self, make):
        sampler = make()
        first = self.drawn(sampler, 1)
        self.drawn(sampler, 2)
        assert self.drawn(sampler, 1) == first

    def test_other_epochs_and_seeds_differ(self, make):
        windows = [[batch[1:] for batch in self.drawn(make(seed), epoch)] for seed, epoch in ((0, 0), (0, 1), (1, 0))]
        assert windows[0] != windows[1]
        assert windows[0] != windows[2]

    def test_what_is_drawn_for_a_batch_differs_from_batch_to_batch(self, make):
        seeds = [seed for epoch in (0, 1) for seed, *_ in self.drawn(make(), epoch)]
        assert len(set(seeds)) == len(seeds)

    def test_every_epoch_has_the_same_number_of_batches(self, make):
        sampler = make()
        assert {len(self.drawn(sampler, epoch)) for epoch in range(8)} == {len(sampler)}

    def test_the_first_epoch_covers_every_event_once(self, make):
        lengths = np.random.default_rng(0).integers(0, 60, 50)
        begin, end = borders(lengths)
        batches = self.drawn(make(), 0)
        found = sorted(
            place for _, _, starts, ends in batches for pair in zip(starts, ends, strict=True) for place in range(*pair)
        )
        assert found == [place for pair in zip(begin, end, strict=True) for place in range(*pair)]

    def test_padded_tokens_stay_within_the_budget(self, make):
        for _, users, starts, ends in self.drawn(make(), 0):
            assert len(users) * (np.subtract(ends, starts).max() + 1) <= 200

    def test_windows_of_like_length_stand_together(self, make):
        batches = self.drawn(make(), 0)
        tokens = sum(np.subtract(ends, starts).sum() + len(users) for _, users, starts, ends in batches)
        padded = sum(len(users) * (np.subtract(ends, starts).max() + 1) for _, users, starts, ends in batches)
        assert tokens / padded > 0.85

    def test_nobody_did_anything(self):
        nobody = EpochSampler(np.zeros(3, np.int64), np.zeros(3, np.int64), max_length=5, max_tokens=10, seed=0)
        assert len(nobody) == 0
        assert list(nobody) == []
