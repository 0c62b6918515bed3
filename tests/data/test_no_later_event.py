"""No event after the cut changes a byte of the data that training reads."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data import raw_set
from tests.data.batch_contents import everything, loaders
from tests.data.raw_set import MICROSECOND, TEST_START, VALIDATION_START
from towers.contract import schema
from towers.data.histories import HISTORY_COLUMNS
from towers.evaluation.known import Known
from towers.training.objectives.negatives import InBatchAndUniform

TRAINING = [event for event in raw_set.EVENTS if event[2] < VALIDATION_START]
LAST = ("ann", "a1", TEST_START + timedelta(days=60), "play", 100_000, None)
"""An event that comes last in any case: each period needs one."""
KNOWN_USERS, NEW_USERS = ("ann", "ben", "dee", "eve"), ("new-ann", "A")
KNOWN_CONTENTS, NEW_CONTENTS = ("a1", "a2", "a3", "e1", "b1", "u9"), ("a4", "art-x", "new-a", "0")


def later(users, contents):
    """Draws events after the cut, by some of `users` with some of `contents`."""
    return st.lists(
        st.tuples(
            st.sampled_from(users),
            st.sampled_from(contents),
            st.integers(0, 10 * 24).map(lambda hours: VALIDATION_START + timedelta(hours=hours)),
            st.sampled_from(schema.ACTIONS),
            st.sampled_from([None, 1_000, 90_000, 100_000]),
            st.sampled_from([None, "home", "new context"]),
        ),
        min_size=1,
        max_size=12,
    )


@pytest.fixture(scope="module")
def prepare(tmp_path_factory, make_builder):
    def make(events):
        folder = tmp_path_factory.mktemp("later")
        # A microsecond apart, so that none is another one's duplicate.
        apart = [(user, content, time + place * MICROSECOND, *rest)
                 for place, (user, content, time, *rest) in enumerate(events)]  # fmt: skip
        raw_set.write_part(folder / "raw", "events", raw_set.event_table([*TRAINING, *apart, LAST]))
        contents = raw_set.content_table(raw_set.CONTENTS).drop_columns("audio")
        raw_set.write_part(folder / "raw", "contents", contents)
        raw_set.write_part(folder / "raw", "users", pa.Table.from_pylist(raw_set.USERS))
        return make_builder(folder / "raw", folder / "stores").build()[0]

    return make


@pytest.fixture(scope="module")
def untouched(prepare):
    return prepare([])


def of_training(store):
    """Returns all that training reads of a store, by raw ids, since rows of two stores may differ."""
    histories, ids = store.histories, [*store.content_ids.tolist(), None]
    popularity = Known(store, "validation").task.train_counts
    contents = {
        content_id: (
            [store.contents[name][row].as_py() for name in ("train_positives", "train_plays", "train_events")],
            int(store.train_positives[row]), int(store.first_heard_us[row]), int(popularity[row]),
            [codes[row].tolist() for codes in store.content_codes.values()],
        )
        for row, content_id in enumerate(store.content_ids.tolist())
    }  # fmt: skip
    users = {}
    for row, user_id in enumerate(store.user_ids.tolist()):
        events = slice(histories.offsets[row], histories.train_end[row])
        columns = {name: getattr(histories, name)[events].tolist() for name in HISTORY_COLUMNS}
        named = [ids[place] for place in columns.pop("content_row")]
        users[user_id] = (named, columns, store.user_codes[row].tolist())
    vocabularies = {path.name: path.read_bytes() for path in (store.folder / "vocabularies").iterdir()}
    return contents, users, vocabularies


@given(events=later((*KNOWN_USERS, *NEW_USERS), (*KNOWN_CONTENTS, *NEW_CONTENTS)))
@settings(max_examples=3, deadline=None)
def test_counts_vocabularies_and_codes_are_the_same(prepare, untouched, events):
    contents, users, vocabularies = of_training(prepare(events))
    known_contents, known_users, known_vocabularies = of_training(untouched)
    assert vocabularies == known_vocabularies
    assert {content_id: contents[content_id] for content_id in known_contents} == known_contents
    assert {user_id: users[user_id] for user_id in known_users} == known_users
    nothing = [0, 0, 0], 0, np.iinfo(np.int64).max, 0
    assert all(found[:4] == nothing for content_id, found in contents.items() if content_id not in known_contents)
    assert not any(named for user_id, (named, *_) in users.items() if user_id not in known_users)


def batches(store):
    candidates = InBatchAndUniform(store.train_positives, num_uniform=2, in_batch=True)
    data = loaders(store, candidates, max_length=4, max_tokens=12, lookahead=2, num_rejections=2, has_times=True)
    times = [(batch.candidate_since_s.tolist(), [part.targets.time_s.tolist() for part in batch.micro_batches])
             for batch in data.training(2)]  # fmt: skip
    return [everything(batch) for batch in data.training(2)], times


@given(events=later(KNOWN_USERS, KNOWN_CONTENTS))
@settings(max_examples=3, deadline=None)
def test_batches_and_what_targets_compete_with_are_the_same(prepare, untouched, events):
    """The listeners and contents are the same, so that their rows are too."""
    assert batches(prepare(events)) == batches(untouched)


def test_an_event_of_training_does_tell(prepare, untouched):
    """This shows that the tests above can fail."""
    earlier = [("ben", "a1", VALIDATION_START - timedelta(days=3), "play", 100_000, "elsewhere")]
    store = prepare(earlier)
    assert [found != known for found, known in zip(of_training(store), of_training(untouched), strict=True)] == [
        True
    ] * 3
    assert batches(store) != batches(untouched)
