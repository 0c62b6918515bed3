"""The rule of which contents may be recommended, on simple events."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.contract import schema
from towers.contract.durations import DAY_US
from towers.contract.events import is_positive
from towers.errors import UserError
from towers.retrieval.catalogue import Catalogue
from towers.retrieval.encoders import Events
from towers.retrieval.query import Query, Standing

NOW_US = 1_000 * DAY_US


def events(*told: tuple[str, int, float] | tuple[str, int, float, float]) -> Events:
    """Returns events of `(action, row, days ago)` or `(action, row, days ago, played fraction)`, in this order; half is
    a play.
    """
    action, row, days, *_ = zip(*(one[:3] for one in told), strict=True) if told else ((), (), ())
    rows = np.array(row, np.int64)
    codes = np.array([schema.ACTION_CODES[name] for name in action], np.int64)
    fractions = np.array([one[3] if len(one) > 3 else -1.0 for one in told], np.float64)
    return Events(
        content_row=rows,
        action=codes,
        timestamp_us=NOW_US - np.array([round(day * DAY_US) for day in days], np.int64),
        played_fraction=fractions,
        context=np.zeros(len(told), np.int64),
        is_positive=is_positive(content_row=rows, action=codes, played_fraction=fractions, min_played_fraction=0.5),
    )


def withheld(*told: tuple, until_us: int | None = NOW_US, **asked) -> list[int]:
    return sorted(Standing.of(events(*told), until_us).withheld(Query(**asked)).tolist())


@pytest.mark.parametrize(
    ("told", "is_out", "is_out_with_heard"),
    [
        # Never met.
        ([], False, False),
        ([("search", 0, 1)], False, False),
        ([("browse", 0, 1)], False, False),
        ([("dislike", -1, 1), ("skip", -1, 1), ("play", -1, 1)], False, False),
        # Heard: comes with `include_heard`.
        ([("play", 0, 500)], True, False),
        ([("play", 0, 1, 0.01)], True, False),  # too short to be chosen
        ([("like", 0, 1)], True, False),
        ([("save", 0, 1)], True, False),
        ([("save", 0, 2), ("unsave", 0, 1)], True, False),
        ([("unsave", 0, 1)], True, False),
        ([("play", 0, 500), ("skip", 0, 1)], True, False),
        ([("skip", 0, 2), ("play", 0, 1)], True, False),
        # Only skipped: out while the last skip is less than thirty days old, under all other options.
        ([("skip", 0, 1)], True, True),
        ([("skip", 0, 40), ("skip", 0, 29.9)], True, True),
        ([("skip", 0, 30)], False, False),
        ([("skip", 0, 400), ("skip", 0, 31)], False, False),
        ([("skip", 0, 31), ("search", 0, 1)], False, False),
        # Disliked: never, unless a like or a save takes it back.
        ([("dislike", 0, 900)], True, True),
        ([("play", 0, 900), ("dislike", 0, 800)], True, True),
        ([("dislike", 0, 900), ("play", 0, 800), ("play", 0, 1)], True, True),
        ([("dislike", 0, 900), ("skip", 0, 800)], True, True),
        ([("dislike", 0, 900), ("unsave", 0, 800)], True, True),
        ([("like", 0, 900), ("dislike", 0, 800)], True, True),
        ([("dislike", 0, 900), ("like", 0, 800)], True, False),
        ([("dislike", 0, 900), ("save", 0, 800)], True, False),
        ([("dislike", 0, 900), ("save", 0, 800), ("dislike", 0, 700)], True, True),
    ],
)
def test_what_a_listener_did_with_a_content(told: list, is_out: bool, is_out_with_heard: bool) -> None:
    assert withheld(*told) == [0] * is_out
    assert withheld(*told, include_heard=True) == [0] * is_out_with_heard
    # Another content changes nothing.
    assert withheld(*told, ("skip", 7, 100), ("dislike", 8, 0)) == [0] * is_out + [8]


def test_days_after_a_skip() -> None:
    skips = [("skip", row, days) for row, days in enumerate((100, 31, 30, 29, 7, 0))]
    assert withheld(*skips) == [3, 4, 5]
    assert withheld(*skips, skip_cooldown_days=7) == [5]
    assert withheld(*skips, skip_cooldown_days=7.5) == [4, 5]
    assert withheld(*skips, skip_cooldown_days=0) == []
    assert withheld(*skips, skip_cooldown_days=float("inf")) == [0, 1, 2, 3, 4, 5]
    # Without a clock their age is not known; only a cooldown of 0 gives them back.
    assert withheld(*skips, until_us=None) == [0, 1, 2, 3, 4, 5]
    assert withheld(*skips, until_us=None, skip_cooldown_days=0) == []
    # Days are counted back from the last event, not from today.
    assert withheld(*skips, until_us=NOW_US + 365 * DAY_US) == []


ACTIONS = st.sampled_from(schema.ACTIONS)


@given(st.lists(st.tuples(ACTIONS, st.integers(-1, 3), st.integers(0, 60), st.sampled_from([-1.0, 0.1, 0.9]))))
def test_as_it_is_said_in_words(told: list[tuple[str, int, int, float]]) -> None:
    """The reference applies the rule content by content and event by event."""
    told = sorted(told, key=lambda event: -event[2])
    for include_heard in (False, True):
        expected = []
        for row in range(4):
            own = [(action, days) for action, of, days, _ in told if of == row]
            words = [action for action, _ in own if action in ("like", "save", "dislike")]
            skips = [days for action, days in own if action == "skip"]
            if words[-1:] == ["dislike"]:
                expected.append(row)
            elif any(action in ("play", "like", "save", "unsave") for action, _ in own):
                expected += [] if include_heard else [row]
            elif skips and min(skips) < 30:
                expected.append(row)
        assert withheld(*told, include_heard=include_heard) == expected


def test_standing_in_another_version() -> None:
    standing = Standing.of(events(("play", 0, 5), ("skip", 1, 4), ("dislike", 2, 3), ("skip", 3, 1)), NOW_US)
    moved = standing.moved(np.array([10, -1, 12, 13]))
    assert (moved.heard.tolist(), moved.disliked.tolist(), moved.skipped.tolist()) == ([10], [12], [13])
    assert moved.skipped_us.tolist() == [NOW_US - DAY_US]
    assert moved.until_us == NOW_US


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"k": 0}, "k=0: must be at least 1"),
        ({"kind": ("song",)}, "kind=song: no such kind; there are track"),
        ({"kind": ()}, "kind: give at least one"),
        ({"skip_cooldown_days": -1}, "skip_cooldown_days=-1: must be 0 or more"),
        ({"skip_cooldown_days": float("nan")}, "skip_cooldown_days=nan: must be 0 or more"),
    ],
)
def test_mistakes(asked: dict, said: str) -> None:
    with pytest.raises(UserError) as refused:
        Query(**asked)
    assert str(refused.value).startswith(said)


class TestCatalogue:
    """The catalogue has a track, an explicit one, an episode, and tracks with known days of release."""

    catalogue = Catalogue(
        np.array([0, 0, 1, 0, 0], np.int8),
        np.array([False, True, False, False, True]),
        np.array(["NaT", "NaT", "NaT", "2026-05-04", "2026-05-05"], "datetime64[D]"),
    )

    @pytest.mark.parametrize(
        ("kinds", "explicit", "released_by", "rows"),
        [
            (("track",), True, None, [0, 1, 3, 4]),
            (("track", "episode"), False, None, [0, 2, 3]),
            (("track",), True, date(2026, 5, 4), [0, 1, 3]),
            (("track",), True, date(2026, 5, 5), [0, 1, 3, 4]),
            (("track",), False, date(2026, 5, 3), [0]),
            (("artist",), True, None, []),
        ],
    )
    def test_what_passes(self, kinds, explicit, released_by, rows) -> None:
        assert np.flatnonzero(self.catalogue.passing(kinds, explicit, released_by)).tolist() == rows

    def test_what_is_withdrawn_passes_nowhere(self) -> None:
        is_withdrawn = np.array([False, False, False, True, False])
        catalogue = Catalogue(np.array([0, 0, 1, 0, 0], np.int8), ~is_withdrawn, self.catalogue.released, is_withdrawn)
        assert np.flatnonzero(catalogue.of_kinds(schema.KINDS)).tolist() == [0, 1, 2, 4]
        assert np.flatnonzero(catalogue.passing(("track",), True, None)).tolist() == [0, 1, 4]

    def test_masks_are_made_once_and_cannot_be_written_to(self) -> None:
        mask = self.catalogue.passing(("track",), False, date(2026, 5, 4))
        assert self.catalogue.passing(("track",), False, date(2026, 5, 4)) is mask
        assert self.catalogue.of_kinds(["episode", "track", "track"]) is self.catalogue.of_kinds(["track", "episode"])
        with pytest.raises(ValueError, match="read-only"):
            mask[0] = True
