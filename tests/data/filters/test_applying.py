"""Filtered histories equal those of listeners who never had the events that are left out."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.filters.some_histories import CONTENTS, assert_same, cut_listeners, histories_of, write
from towers.data import blocks as blocks_module
from towers.data.blocks import blocks
from towers.data.filters.applying import apply_filters, filters_of
from towers.data.filters.collapse_repeats import CollapseRepeats
from towers.data.histories import Histories
from towers.data.splits.split import Cuts
from towers.errors import UserError

SOMEBODY = [(0, "play", True)]


@dataclass
class Chosen:
    """A filter that keeps chosen events."""

    kept: list[bool]

    def keep(self, histories, num_contents):
        assert num_contents == CONTENTS
        return np.array(self.kept, bool)

    def settings(self):
        return {}


@given(drawn=cut_listeners(), data=st.data(), size=st.integers(1, 9))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_is_what_a_loop_makes(tmp_path, monkeypatch, drawn, data, size):
    monkeypatch.setattr(blocks_module, "BLOCK_EVENTS", size)
    # Before them a listener who stays, so that something is left to train on.
    listeners, cuts, sessions = [[SOMEBODY, *drawn[0]], [[1, 1, 1, 1], *drawn[1]], [[-1], *drawn[2]]]
    whole = histories_of(listeners, cuts, sessions)
    number = len(whole.action)
    kept = [True, *data.draw(st.lists(st.booleans(), min_size=number - 1, max_size=number - 1))]
    own = [kept[begin:end] for begin, end in zip(whole.offsets, whole.offsets[1:], strict=False)]
    pairs = list(zip(listeners, own, strict=True))
    columns = {name: getattr(whole, name)[kept] for name in ("timestamp_us", "context", "device", "played_fraction")}
    expected = histories_of(
        [[event for event, stays in zip(one, keep, strict=True) if stays] for one, keep in pairs],
        [[sum(keep[:end]) for end in cut] for keep, cut in zip(own, cuts, strict=True)],
        [[number for number, stays in zip(one, keep, strict=True) if stays]
         for one, keep in zip(sessions, own, strict=True)],
        **columns,
    )  # fmt: skip
    folder = write(whole, tmp_path / "histories")
    assert apply_filters(folder, {"chosen": Chosen(kept)}, CONTENTS) == {"chosen": number - sum(kept)}
    assert_same(Histories.read(folder), expected)
    assert {path.suffix for path in folder.iterdir()} == {".npy"}


def test_one_after_the_other_each_on_what_the_one_before_has_left(tmp_path):
    folder = write(histories_of([[(0, "play", True), (1, "skip", False), (0, "play", True)]], [[3, 3, 3, 3]]), tmp_path)
    found = apply_filters(folder, {"middle": Chosen([True, False, True]), "repeats": CollapseRepeats()}, CONTENTS)
    assert found == {"middle": 1, "repeats": 1}
    assert Histories.read(folder).content_row.tolist() == [0]


def test_what_leaves_nothing_to_train_on_is_refused(tmp_path):
    folder = write(histories_of([[(0, "play", True), (1, "play", True)]], [[1, 1, 1, 1]]), tmp_path)
    with pytest.raises(UserError, match="chosen: leaves no positive event of training"):
        apply_filters(folder, {"chosen": Chosen([False, True])}, CONTENTS)


def test_a_window_that_is_over_comes_first(tmp_path):
    whole = histories_of([[(0, "play", True), (1, "play", True), (2, "play", True)]], [[1, 1, 2, 2]])
    found = filters_of(Cuts(validation_start_us=1, test_start_us=2, end_us=2), {"repeats": CollapseRepeats()})
    assert list(found) == ["data.split", "data.filters.repeats"]
    folder = write(whole, tmp_path)
    apply_filters(folder, found, CONTENTS)
    assert Histories.read(folder).content_row.tolist() == [0, 1]
    assert list(filters_of(Cuts(), {})) == []


@given(lengths=st.lists(st.integers(0, 6), max_size=8), size=st.integers(1, 10))
def test_blocks_hold_whole_listeners_and_all_of_them(lengths, size):
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    found = list(blocks(offsets, size))
    assert [length for block in found for length in block.lengths] == lengths
    assert [user for block in found for user in range(block.users.start, block.users.stop)] == list(range(len(lengths)))
    for block in found:
        assert block.size == block.lengths.sum() == offsets[block.users.stop] - block.events.start
        assert block.size <= size or len(block.lengths) == 1 or sorted(block.lengths)[-2] == 0
