"""Home pages: the contents that are cards, listeners' features for them, and pages drawn shelf by shelf."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.policies.bandit.homes import CONTENTS, ROW, SHELVES, home_export
from towers.contract import schema
from towers.contract.impressions import IMPRESSION_SCHEMA
from towers.errors import UserError
from towers.policies.bandit.home import Shelf, Shelves, draw_page
from towers.policies.bandit.home_cards import HomeCards, cards_of_file, content_cards, most_played_cards
from towers.policies.bandit.log_outcomes import outcomes_of
from towers.policies.bandit.reward import StreamAndSave
from towers.policies.bandit.satiation import HALVED_US, satiation_of
from towers.policies.bandit.uniform import Uniform

NOW_US = 1_800_000_000_000_000


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    return home_export(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def cards(export):
    return HomeCards(export=export, rows=most_played_cards(export))


def ids(export, rows):
    return [export.content_ids[row] for row in rows]


class TestWhichCards:
    def test_a_content_belongs_to_its_artists_and_playlists(self, export):
        found = {row["content_id"]: ids(export, content_cards(export)[ROW[row["content_id"]]]) for row in CONTENTS}
        assert found["t0"] == ["t0", "a0", "p0", "p1"]
        assert found["t1"] == ["t1", "a0", "a1", "p0"]
        assert found["a0"] == ["a0"]
        assert found["e0"] == ["e0"]

    def test_each_kind_has_its_share_and_the_most_played_come_first(self, export, monkeypatch):
        plays = np.array([5, 0, 9, 0, 0, 0, 0, 2, 3])
        monkeypatch.setattr(export, "facts", type("Facts", (), {"recent_positives": plays}))
        assert ids(export, most_played_cards(export)) == ["p1", "a1", "a0", "p0", "e1", "e0"]
        assert ids(export, most_played_cards(export, most=3)) == ["p1", "a1", "e1"]
        assert ids(export, most_played_cards(export, ["episode", "playlist"], most=3)) == ["p1", "p0", "e1"]

    def test_a_file_of_ids(self, export, tmp_path):
        path = tmp_path / "cards.txt"
        path.write_text("p1\n\n e0 \n")
        assert ids(export, cards_of_file(export, path)) == ["p1", "e0"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [("p1\nx\n", "line 2: 'x' is not a content of"), ("p1\np1", "'p1' is already in line 1"), ("\n", "no ids")],
    )
    def test_a_file_that_is_wrong(self, export, tmp_path, text, said):
        path = tmp_path / "cards.txt"
        path.write_text(text)
        with pytest.raises(UserError, match=said):
            cards_of_file(export, path)
        with pytest.raises(UserError, match="cannot be read"):
            cards_of_file(export, tmp_path / "nowhere")

    def test_numbers_last_and_new_cards_come_behind(self, export):
        rows = np.array([ROW[name] for name in ("e0", "p0", "a1")])
        again = HomeCards(export=export, rows=rows, known_ids=("gone", "p0"))
        assert again.card_ids == ("gone", "p0", "e0", "a1")
        assert again.numbers.tolist() == [2, 1, 3]
        assert again.place_of_number.tolist() == [-1, 1, 0, 2]


class TestListeners:
    def test_how_familiar_a_card_is(self, cards):
        """The listener's plays: t0 twice, t1 once, 1, 2 and 3 events ago, as this data has no reliable times."""
        context, candidates = cards.of_listener(0, NOW_US, np.zeros(len(cards.rows)))
        times = dict(zip(cards.ids, np.expm1(candidates.pairs["familiarity"][0]), strict=True))
        assert times == pytest.approx({"a0": 3, "a1": 1, "p0": 3, "p1": 2, "e0": 0, "e1": 0})
        assert context.user_vectors.shape == (1, 2)
        assert context.times_us.tolist() == [NOW_US]
        recency = dict(zip(cards.ids, candidates.pairs["recency"][0], strict=True))
        assert recency["a1"] == pytest.approx(1 / (1 + NOW_US / 86_400_000_000))
        assert recency["e0"] == 0

    def test_what_they_disliked_is_not_allowed(self, cards, monkeypatch):
        disliked = replace(cards.export.events(1), action=np.array([schema.DISLIKE]))
        monkeypatch.setattr(cards.export, "events", lambda row: disliked)
        _, candidates = cards.of_listener(1, NOW_US, np.zeros(len(cards.rows)))
        assert candidates.is_allowed is not None
        assert [one for one, allowed in zip(cards.ids, candidates.is_allowed[0], strict=True) if not allowed] == ["e0"]

    def test_satiation_by_hand(self):
        times = np.array([0, HALVED_US, 2 * HALVED_US, 2 * HALVED_US, 3 * HALVED_US])
        user, card = np.array([1, 1, 1, 2, 1]), np.array([3, 3, 3, 3, 3])
        is_stream = np.array([False, False, True, False, False])
        found = np.expm1(satiation_of(user, card, times, is_stream))
        assert found == pytest.approx([0, 1 / 2, (1 / 2 + 1) / 2, 0, 0])


class TestPages:
    def draw(self, cards, seed=0, shelves=SHELVES, listener=0):
        context, candidates = cards.of_listener(listener, NOW_US, np.zeros(len(cards.rows)))
        return draw_page(Uniform(slots=4), cards, context, candidates, shelves, np.random.default_rng(seed))

    def test_a_card_stands_once_on_a_page_and_on_a_shelf_of_its_kind(self, cards):
        for seed in range(30):
            filled = self.draw(cards, seed)
            shown = [place for shelf in filled for place in shelf.places.tolist()]
            assert len({*shown}) == len(shown) >= 4
            assert [shelf.first_slot for shelf in filled] == np.cumsum([0, *(len(one.places) for one in filled)])[
                :-1
            ].tolist()
            for shelf in filled:
                kinds = {schema.KINDS[cards.kinds[place]] for place in shelf.places.tolist()}
                assert kinds <= {*(shelf.shelf.kinds or schema.KINDS)}
                assert shelf.could[shelf.places].all()

    def test_chances_are_those_of_the_cards_that_are_left(self, cards):
        first, talk, _ = self.draw(cards)
        assert first.propensities.tolist() == pytest.approx([1 / 6, 1 / 5])
        left = int(talk.could.sum())
        assert talk.propensities.tolist() == pytest.approx([1 / (left - place) for place in range(left)])

    def test_the_same_seed_gives_the_same_page(self, cards):
        one, same = self.draw(cards, 5), self.draw(cards, 5)
        assert [shelf.places.tolist() for shelf in one] == [shelf.places.tolist() for shelf in same]

    def test_shelves_that_cannot_be(self):
        with pytest.raises(ValueError, match="slots=0"):
            Shelf(name="a", title="A", slots=0)
        with pytest.raises(ValueError, match="unknown kind 'song'"):
            Shelf(name="a", title="A", slots=1, kinds=("song",))
        with pytest.raises(ValueError, match="a name of its own"):
            Shelves([SHELVES[0], SHELVES[0]])
        with pytest.raises(ValueError, match="at least one"):
            Shelves([])


def looked_at(streams):
    """Returns which cards were looked at: the first three slots, and all up to the last stream."""
    is_seen = np.logical_or.accumulate(streams[:, ::-1] > 0, axis=1)[:, ::-1]
    is_seen[:, :3] = True
    return is_seen


class TestOutcomes:
    def rows(self, *rows):
        nobody = dict.fromkeys(IMPRESSION_SCHEMA.names)
        good = {"request_id": "r", "user_id": "u0", "timestamp": NOW_US, "shelf": "picked", "propensity": 0.5}
        return pa.Table.from_pylist([nobody | good | row for row in rows], IMPRESSION_SCHEMA)

    def test_rows_become_what_a_policy_learns_from(self, cards):
        table = self.rows(
            {"slot": 4, "chosen_id": "p0", "played_ms": 40_000},
            {"slot": 5, "chosen_id": "e0", "saved": True},
            *({"slot": slot, "chosen_id": "a0", "shelf": "low"} for slot in (6, 7, 8, 9)),
        )
        learned = outcomes_of(cards, table, StreamAndSave(), looked_at)
        found = learned.outcomes
        assert found.slots.tolist() == [0, 1, 0, 1, 2, 3]
        assert found.is_seen.tolist() == [True, True, True, True, True, False]
        assert found.rewards.tolist() == pytest.approx([0.8, 0.2, 0, 0, 0, 0])
        assert [cards.card_ids[number] for number in found.content_rows[:2].tolist()] == ["p0", "e0"]
        assert np.expm1(found.pairs["familiarity"])[:3] == pytest.approx([3, 0, 3])
        assert np.expm1(found.pairs["satiation"]) == pytest.approx([0, 0, 0, 1, 2, 3])
        assert (learned.left_out, learned.rows.tolist()) == ({}, [0, 1, 2, 3, 4, 5])

    def test_the_last_stream_tells_how_far_somebody_looked(self, cards):
        table = self.rows(*({"slot": slot, "chosen_id": "a0"} for slot in range(5)), {
            "slot": 5, "chosen_id": "p0", "played_ms": 40_000}, {"slot": 6, "chosen_id": "p1"})  # fmt: skip
        assert outcomes_of(cards, table, StreamAndSave(), looked_at).outcomes.is_seen.tolist() == [True] * 6 + [False]

    def test_what_cannot_be_learned_from_is_counted(self, cards):
        table = self.rows(
            {"slot": 0, "chosen_id": "p0", "propensity": None},
            {"slot": None, "chosen_id": "p0"},
            {"slot": 1, "chosen_id": "p0", "user_id": "who"},
            {"slot": 2, "chosen_id": "what"},
            {"slot": 3, "chosen_id": None},
            {"slot": 4, "chosen_id": "t0"},
        )
        learned = outcomes_of(cards, table, StreamAndSave(), looked_at)
        assert len(learned.outcomes) == 0
        assert learned.left_out == {
            "no propensity": 1, "no slot": 1, "no such listener in the export": 1,
            "no such content in the export": 2, "no card of this policy": 1,
        }  # fmt: skip
