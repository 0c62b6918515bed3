"""Personal lists from an editor's pool."""

from datetime import date
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.retrieval.small_export import content, small_export
from towers.contract import schema
from towers.errors import UserError
from towers.policies.listener import Listener
from towers.policies.playlists.algotorial import OpenPool, discounts, personalise, personalise_all
from towers.policies.playlists.exposure import Weights, attention, fit_weights, values_of, weights_path
from towers.policies.playlists.pool_file import pool_of
from towers.retrieval.encoders import Events
from towers.retrieval.query import Standing

DAY, NUM, USERS = date(2026, 7, 1), 12, 60
IDS = [f"t{at}" for at in range(NUM)]


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    contents = [
        content(name, artist_ids=[f"a{at % 3}"], genres=["folk", "rock"][: 1 + at % 2], release_date=date(2026, 1, 1))
        for at, name in enumerate(IDS)
    ]
    contents.append(content("late", release_date=date(2026, 8, 1)))
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(len(contents), 8)).astype(np.float32)
    vectors[:4] += 1  # so that some contents are near to more listeners than others
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    chosen = {f"u{at}": [int(draw.integers(NUM))] for at in range(USERS)} | {"cold": []}
    return small_export(tmp_path_factory.mktemp("algotorial") / "export", contents, vectors, chosen)


def opened(export, **told):
    return OpenPool.of(export, pool_of(export, {"contents": IDS, "k": 5} | told, "p"), DAY)


def after(export, listener, action, rows):
    """Returns the listener with further events of this action for some contents."""
    events = export.plays(np.array(rows, np.int64))
    events = Events(
        **{name: getattr(events, name) for name in Events.__slots__} | {"action": np.full(len(rows), action)}
    )
    return Listener(export=export, vector=listener.vector, standing=Standing.of(events, None))


@st.composite
def rules(draw):
    """Draws pins and quotas that can hold together: they are those of a list that was drawn first."""
    order = draw(st.permutations(range(NUM)))
    keeps_order = draw(st.booleans())
    drawn = sorted(order[:5]) if keeps_order else order[:5]
    pins = draw(st.lists(st.integers(1, 5), unique=True, max_size=3))
    quotas = []
    for by, of in (("artist", "a0"), ("genre", "rock"), ("artist", "a2")):
        held = sum((f"a{at % 3}" == of) if by == "artist" else at % 2 for at in drawn)
        quotas.append({by: of, "minimum": draw(st.integers(0, held)), "maximum": draw(st.integers(held, 5))})
    return {
        "order": "kept" if keeps_order else "free",
        "pins": [{"place": place, "content": IDS[drawn[place - 1]]} for place in pins],
        "quotas": draw(st.lists(st.sampled_from(quotas), unique_by=str, max_size=3)),
    }


@given(told=rules(), user=st.integers(0, USERS), disliked=st.lists(st.integers(0, NUM - 1), max_size=8))
def test_rules_hold_for_everybody(export, told, user, disliked):
    pool = opened(export, **told)
    listener = Listener.of_row(export, user)
    if disliked:
        listener = after(export, listener, schema.DISLIKE, disliked)
    rows = personalise(pool, listener).rows
    assert len(rows) == 5
    assert set(rows) <= set(range(NUM))
    for pin in told["pins"]:
        assert export.content_ids[int(rows[pin["place"] - 1])] == pin["content"]
    for quota in told["quotas"]:
        count = sum(row % 2 if "genre" in quota else f"a{row % 3}" == quota["artist"] for row in rows.tolist())
        assert quota["minimum"] <= count <= quota["maximum"]
    if told["order"] == "kept":
        assert rows.tolist() == sorted(rows.tolist())


@pytest.mark.parametrize("pins", [{}, {2: "t0"}, {1: "t5", 3: "t0"}])
@pytest.mark.parametrize(
    ("quotas", "obeys"),
    [
        ([], lambda order: True),
        ([{"genre": "rock", "maximum": 1}], lambda order: sum(at % 2 for at in order) <= 1),
        ([{"artist": "a2", "minimum": 2}], lambda order: sum(at % 3 == 2 for at in order) >= 2),
    ],
)
def test_no_order_that_obeys_is_better(export, quotas, obeys, pins):
    told = [{"place": place, "content": content_id} for place, content_id in pins.items()]
    pool, places = opened(export, contents=IDS[:6], k=4, pins=told, quotas=quotas), discounts(4)
    orders = [order for order in permutations(range(6), 4) if obeys(order)]
    orders = [order for order in orders if all(IDS[order[place - 1]] == pins[place] for place in pins)]
    for user in range(5):
        listener = Listener.of_row(export, user)
        values = pool.values(listener)
        best = max(values[list(order)] @ places for order in orders)
        assert values[personalise(pool, listener).rows] @ places == pytest.approx(best)


def test_without_rules_the_best_come_first(export):
    listener = Listener.of_row(export, 3)
    best = np.argsort(-listener.utility(np.arange(NUM)), kind="stable")
    assert personalise(opened(export), listener).rows.tolist() == best[:5].tolist()
    kept = personalise(opened(export, order="kept"), listener)
    assert kept.rows.tolist() == sorted(best[:5].tolist())


def test_a_cold_listener_gets_the_editors_order(export):
    pins = [{"place": 2, "content": "t9"}]
    cold = personalise(opened(export, pins=pins), Listener.of(export, user="cold"), np.arange(12.0))
    assert cold.rows.tolist() == [0, 9, 1, 2, 3]
    assert [reason.kind for reason in cold.reasons] == ["editor", "pinned", "editor", "editor", "editor"]
    few = personalise(opened(export, quotas=[{"artist": "a0", "maximum": 1}]), Listener.of(export, user="cold"))
    assert few.rows.tolist() == [0, 1, 2, 4, 5]


def test_what_was_disliked_comes_where_a_rule_asks_for_it_alone(export):
    somebody = Listener.of_row(export, 3)
    disliked = personalise(opened(export), somebody).rows[:2].tolist()
    listener = after(export, somebody, schema.DISLIKE, disliked)
    assert not set(disliked) & set(personalise(opened(export), listener).rows.tolist())
    pinned = personalise(opened(export, pins=[{"place": 1, "content": IDS[disliked[0]]}]), listener)
    assert pinned.rows[0] == disliked[0]
    assert disliked[1] not in pinned.rows
    asked = personalise(opened(export, quotas=[{"contents": [IDS[disliked[1]]], "minimum": 1}]), listener)
    assert asked.rows[-1] == disliked[1]
    assert asked.remark == "1 that the listener disliked, which the rules of the pool ask for"


def test_what_is_not_out_yet_waits(export):
    told = {"contents": [*IDS[:4], "late"]}
    early = personalise(opened(export, **told), Listener.of_row(export, 3))
    assert sorted(early.rows.tolist()) == [0, 1, 2, 3]
    assert early.remark == "4 of 5 contents: the pool has no more that are released"
    pool = pool_of(export, told | {"k": 5}, "p")
    assert NUM in personalise(OpenPool.of(export, pool, date(2026, 8, 1)), Listener.of_row(export, 3)).rows
    with pytest.raises(UserError, match="p: cannot hold together: late comes out on 2026-08-01; pins: late at place 1"):
        opened(export, **told, pins=[{"place": 1, "content": "late"}])
    with pytest.raises(UserError, match="t0 is at place 5, and on 2026-07-01 only 4 contents are released"):
        opened(export, **told, pins=[{"place": 5, "content": "t0"}])
    with pytest.raises(UserError, match="none of them is released on 2026-07-01"):
        opened(export, contents=["late"])


def test_outside_its_window_a_pool_makes_no_lists(export):
    with pytest.raises(UserError, match="lists were made until 2026-06-30, and it is 2026-07-01"):
        opened(export, window={"until": "2026-06-30"})
    with pytest.raises(UserError, match="lists are made from 2026-07-02 on, and it is 2026-07-01"):
        opened(export, window={"from": "2026-07-02"})


QUOTAS = [{"artist": "a0", "maximum": 2}, {"genre": "rock", "minimum": 2}]  # which cross


@pytest.mark.parametrize("told", [{}, {"order": "kept"}, {"pins": [{"place": 2, "content": "t7"}]}, {"quotas": QUOTAS}])
def test_every_content_gets_its_floor(export, told):
    pool = opened(export, floor=0.6, **told)
    listeners = [Listener.of_row(export, row) for row in range(USERS + 1)]
    assert attention(pool, pool.lists(values_of(pool, listeners))).min() < 0.5
    weights = fit_weights(pool, listeners)
    rows = np.stack([found.rows for found in personalise_all(pool, listeners, weights.values)])
    got = attention(pool, rows)  # the pool's contents are the first rows
    assert weights.reached == pytest.approx(got.min())
    assert got.min() >= 0.6 or told.get("quotas") == QUOTAS
    assert got.min() >= 0.5


def test_a_list_that_is_asked_for_alone_is_that_of_the_batch(export, tmp_path):
    pool = opened(export, floor=0.5, quotas=QUOTAS)
    listeners = [Listener.of_row(export, row) for row in range(USERS + 1)]
    path = weights_path(tmp_path / "p.yaml")
    made = fit_weights(pool, listeners)
    made.write(path, pool.pool)
    assert path.name == "p.weights.json"
    read = Weights.read(path, pool.pool, export)
    assert read.values.tolist() == made.values.tolist()
    batch, again = personalise_all(pool, listeners, made.values), opened(export, floor=0.5, quotas=QUOTAS)
    for found, listener in zip(batch, listeners, strict=True):
        alone = personalise(again, listener, read.values)
        assert alone.rows.tolist() == found.rows.tolist()
        assert alone.scores.tolist() == found.scores.tolist()
        assert alone.reasons == found.reasons


def test_weights_of_another_pool_are_refused(export, tmp_path):
    pool = opened(export)
    fit_weights(pool, []).write(tmp_path / "p.weights.json", pool.pool)
    with pytest.raises(UserError, match=r"p.weights.json: made for another pool \(\w+, not \w+\); towers playlists"):
        Weights.read(tmp_path / "p.weights.json", opened(export, k=4).pool, export)


def test_without_listeners_there_is_nothing_to_weigh(export):
    weights = fit_weights(opened(export, floor=0.5), [Listener.of(export, user="cold")])
    assert weights.values.tolist() == [0.0] * NUM
    assert weights.reached == 0
