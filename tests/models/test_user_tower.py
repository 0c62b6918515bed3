"""Histories to vectors: what a state may see, and what padding may not change."""

from dataclasses import replace

import pytest
import torch

from tests.models.conftest import CONTEXTS, COUNTRIES, DIM, NUM_CONTENTS
from towers.features.events import NUM_ACTIONS, NUM_ELAPSED_BUCKETS, NUM_PLAYED_BUCKETS
from towers.models.user_tower import UserTower, _rotate, _rotation

# Rounding of float32 over two layers. A leak of an event's content shows in the first decimals.
CLOSE = {"atol": 2e-6, "rtol": 0}
SIZES = {
    "content_index": NUM_CONTENTS,
    "action": NUM_ACTIONS,
    "elapsed": NUM_ELAPSED_BUCKETS,
    "played": NUM_PLAYED_BUCKETS,
    "context": CONTEXTS,
}


class TestCausality:
    @pytest.mark.parametrize("column", SIZES)
    @pytest.mark.parametrize("place", [0, 3, 6])
    def test_a_changed_event_never_changes_an_earlier_state(
        self, two_tower, content_vectors, make_histories, column, place
    ):
        histories = make_histories([7, 7])
        before = two_tower.encode_histories(histories, content_vectors)
        codes = getattr(histories, column).clone()
        codes[0, place] = (codes[0, place] + 1) % SIZES[column]
        after = two_tower.encode_histories(replace(histories, **{column: codes}), content_vectors)
        # State i has seen the events before i, so event `place` shows from state `place + 1` on.
        torch.testing.assert_close(after[0, : place + 1], before[0, : place + 1], **CLOSE)
        assert ((after[0, place + 1 :] - before[0, place + 1 :]).abs().amax(dim=1) > 1e-4).all()
        torch.testing.assert_close(after[1], before[1], **CLOSE)

    def test_the_gradient_of_a_state_reaches_its_past_alone(self, user_tower, make_histories):
        histories = make_histories([6])
        vectors = torch.randn(1, 6, DIM, requires_grad=True)
        states = user_tower(
            vectors, histories.action, histories.elapsed, histories.played, histories.context, histories.user_codes
        )
        states[0, 4].sum().backward()
        reached = vectors.grad[0].abs().amax(dim=1) > 0
        assert reached.tolist() == [True] * 4 + [False] * 2

    def test_the_first_state_is_the_listener_alone(self, two_tower, content_vectors, make_histories):
        one, other = make_histories([5, 5], seed=0), make_histories([5, 5], seed=1)
        other = replace(other, user_codes=one.user_codes)
        states = [two_tower.encode_histories(histories, content_vectors)[:, 0] for histories in (one, other)]
        torch.testing.assert_close(states[0], states[1], **CLOSE)
        changed = replace(one, user_codes=(one.user_codes + 1) % COUNTRIES)
        assert (two_tower.encode_histories(changed, content_vectors)[:, 0] - states[0]).abs().max() > 1e-4


class TestPadding:
    LENGTHS = (7, 3, 0, 5)

    @pytest.fixture
    def alone(self, two_tower, content_vectors, make_histories):
        """Each listener's vector, encoded in a batch of one without padding."""
        batch = make_histories(self.LENGTHS)
        vectors = []
        for row, length in enumerate(self.LENGTHS):
            columns = {name: getattr(batch, name)[row : row + 1, :length] for name in (*SIZES, "padding_mask")}
            single = replace(batch, user_codes=batch.user_codes[row : row + 1], **columns)
            vectors.append(two_tower.encode_users(single, content_vectors))
        return torch.cat(vectors)

    @pytest.mark.parametrize("width", [7, 8, 30])
    def test_padded_and_batched_gives_the_same_vector(self, two_tower, content_vectors, make_histories, alone, width):
        found = two_tower.encode_users(make_histories(self.LENGTHS, width), content_vectors)
        torch.testing.assert_close(found, alone, **CLOSE)

    def test_a_vector_is_the_state_after_the_last_event(self, two_tower, content_vectors, make_histories, alone):
        states = two_tower.encode_histories(make_histories(self.LENGTHS), content_vectors)
        for row, length in enumerate(self.LENGTHS):
            torch.testing.assert_close(states[row, length], alone[row], **CLOSE)

    def test_states_differ_from_event_to_event(self, two_tower, content_vectors, make_histories):
        """Otherwise reading a wrong position would go unseen."""
        states = two_tower.encode_histories(make_histories([7]), content_vectors)[0]
        assert (states.diff(dim=0).abs().amax(dim=1) > 1e-3).all()


def test_unit_norms(two_tower, content_vectors, make_histories):
    states = two_tower.encode_histories(make_histories([7, 0, 3]), content_vectors)
    torch.testing.assert_close(states.norm(dim=-1), torch.ones(3, 8))


def test_an_event_without_content_adds_no_content(user_tower, two_tower, content_vectors, make_histories):
    histories = make_histories([4])
    histories.content_index[0, 2] = -1
    vectors = content_vectors[histories.content_index.clamp(min=0)]
    vectors[0, 2] = 0
    expected = user_tower(
        vectors, histories.action, histories.elapsed, histories.played, histories.context, histories.user_codes
    )
    torch.testing.assert_close(two_tower.encode_histories(histories, content_vectors), expected, **CLOSE)


def test_without_listener_columns(content_vectors, make_histories):
    tower = UserTower(
        user_vocabulary_sizes=(), num_contexts=CONTEXTS, content_dim=DIM, dim=16, num_layers=1, num_heads=1, dropout=0.0
    )
    histories = replace(make_histories([2]), user_codes=torch.zeros((1, 0), dtype=torch.int64))
    vectors = content_vectors[histories.content_index]
    states = tower(
        vectors, histories.action, histories.elapsed, histories.played, histories.context, histories.user_codes
    )
    assert states.shape == (1, 3, DIM)
    assert torch.isfinite(states).all()


def test_heads_have_to_fit():
    with pytest.raises(ValueError, match="num_heads 3"):
        UserTower(
            user_vocabulary_sizes=(), num_contexts=1, content_dim=4, dim=16, num_layers=1, num_heads=3, dropout=0.0
        )


class TestRotary:
    def test_scores_depend_on_the_distance_alone(self):
        torch.manual_seed(0)
        tokens, head_dim = 9, 8
        rotation = _rotation(tokens, head_dim, torch.device("cpu"))
        query, key = torch.randn(2, 1, 1, 1, head_dim).expand(2, 1, 1, tokens, head_dim)
        scores = (_rotate(query, rotation) @ _rotate(key, rotation).transpose(-1, -2))[0, 0]
        for distance in range(1 - tokens, tokens):
            along = scores.diagonal(distance)
            torch.testing.assert_close(along, along[:1].expand_as(along), atol=1e-5, rtol=0)
        first = scores[0]
        assert len({round(score, 3) for score in first.tolist()}) == tokens

    def test_lengths_stay(self):
        x = torch.randn(2, 3, 5, 8)
        rotated = _rotate(x, _rotation(5, 8, torch.device("cpu")))
        torch.testing.assert_close(rotated.norm(dim=-1), x.norm(dim=-1))

    def test_the_first_position_is_not_turned(self):
        x = torch.randn(1, 1, 1, 8)
        assert torch.equal(_rotate(x, _rotation(1, 8, torch.device("cpu"))), x)

    def test_order_matters(self, two_tower, content_vectors, make_histories):
        """Two events swapped in the middle: the same set of events, another listener."""
        histories = make_histories([6])
        order = [0, 2, 1, 3, 4, 5]
        swapped = replace(histories, **{name: getattr(histories, name)[:, order] for name in SIZES})
        before, after = (two_tower.encode_users(each, content_vectors) for each in (histories, swapped))
        assert (before - after).abs().max() > 1e-4
