"""Positions of tokens, within training's length and beyond."""

from dataclasses import replace
from functools import partial
from math import cos, sin

import pytest
import torch

from tests.models.conftest import CONTEXTS, COUNTRIES, DIM
from towers.models.attention import turn
from towers.models.positions import Learned, Rotary
from towers.models.user_tower import UserTower


def make_tower(positions, **settings):
    torch.manual_seed(3)
    keywords = {"dim": 16, "num_layers": 2, "num_heads": 2, "dropout": 0.0, **settings}
    return UserTower(
        user_vocabulary_sizes=(COUNTRIES,), num_contexts=CONTEXTS, content_dim=DIM, positions=positions, **keywords
    ).eval()


def states(tower, histories, content_vectors):
    return tower(
        content_vectors[histories.content_index.clamp(min=0)],
        histories.action, histories.elapsed, histories.played, histories.context, histories.user_codes,
    )  # fmt: skip


class TestRotary:
    @pytest.fixture
    def rotate(self):
        rotation = Rotary(dim=8, num_heads=1, base=10_000.0).rotation(torch.arange(9))
        return lambda x: turn(x[:, :, None, None], rotation)[:, :, 0, 0]

    def test_scores_depend_on_the_distance_alone(self, rotate):
        torch.manual_seed(0)
        query, key = torch.randn(2, 1, 1, 8).expand(2, 1, 9, 8)
        scores = (rotate(query) @ rotate(key).transpose(-1, -2))[0]
        for distance in range(-8, 9):
            along = scores.diagonal(distance)
            torch.testing.assert_close(along, along[:1].expand_as(along), atol=1e-5, rtol=0)
        assert len({round(score, 3) for score in scores[0].tolist()}) == 9

    def test_lengths_stay_and_the_first_place_is_not_turned(self, rotate):
        x = torch.randn(2, 9, 8)
        torch.testing.assert_close(rotate(x).norm(dim=-1), x.norm(dim=-1))
        assert torch.equal(rotate(x)[:, 0], x[:, 0])

    def test_the_angle_of_a_pair(self):
        """For place 3, pair 1 of 4 features and base 100 it is 3 * 100 ** (-2 / 4) = 0.3."""
        rotation = Rotary(dim=4, num_heads=1, base=100.0).rotation(torch.tensor([3]))
        torch.testing.assert_close(rotation[0, 1], torch.tensor([cos(0.3), sin(0.3)]))

    def test_real_and_complex_numbers_agree(self):
        torch.manual_seed(0)
        rotation = Rotary(dim=16, num_heads=2, base=10_000.0).rotation(torch.arange(9))
        x = torch.randn(2, 9, 2, 2, 8)
        half = turn(x.bfloat16(), rotation)
        assert half.dtype == torch.bfloat16
        torch.testing.assert_close(half.float(), turn(x, rotation), atol=0.05, rtol=0)

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(ValueError, match="dim 12 must be a multiple of twice num_heads 4"):
            Rotary(dim=12, num_heads=4, base=10_000.0)
        with pytest.raises(ValueError, match="base must be above 1"):
            Rotary(dim=12, num_heads=2, base=1.0)


class TestLearned:
    def test_each_place_has_its_vector_and_those_beyond_share_the_last(self):
        learned = Learned(dim=4, num_heads=1, max_length=3)
        found = learned.encode(torch.zeros(2, 6, 4), torch.arange(6))
        table = learned.state_dict()["_vectors.weight"]
        assert torch.equal(found[1], table[[0, 1, 2, 3, 3, 3]])
        assert learned.rotation(torch.arange(6)) is None
        assert len({tuple(row) for row in table.tolist()}) == 4

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(ValueError, match="max_length must be at least 1"):
            Learned(dim=4, num_heads=1, max_length=0)


@pytest.mark.parametrize("positions", [partial(Rotary, base=10_000.0), partial(Learned, max_length=20)])
class TestBoth:
    def test_a_prefix_has_the_same_states_in_a_history_of_200(self, positions, content_vectors, make_histories):
        tower, whole = make_tower(positions), make_histories([200])
        expected = states(tower, whole, content_vectors)
        names = ("content_index", "action", "elapsed", "played", "context", "padding_mask")
        prefix = replace(whole, **{name: getattr(whole, name)[:, :20] for name in names})
        torch.testing.assert_close(states(tower, prefix, content_vectors), expected[:, :21], atol=2e-6, rtol=0)
        assert torch.isfinite(expected).all()

    def test_order_matters(self, positions, content_vectors, make_histories):
        """Two events are swapped in the middle: the same set of events gives another vector."""
        tower, histories = make_tower(positions), make_histories([6])
        order, names = [0, 2, 1, 3, 4, 5], ("content_index", "action", "elapsed", "played", "context")
        swapped = replace(histories, **{name: getattr(histories, name)[:, order] for name in names})
        before, after = (states(tower, each, content_vectors)[:, -1] for each in (histories, swapped))
        assert (before - after).abs().max() > 1e-4
