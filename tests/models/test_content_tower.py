"""Contents to vectors: any part may be missing, and untrained contents have no delta."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from tests.models.conftest import AUDIO_DIM, DIM, NUM_CONTENTS, VOCABULARY_SIZES
from towers.models.content_tower import ContentTower
from towers.models.rows import WHOLE, Divided, Whole

CLOSE = {"atol": 1e-6, "rtol": 0}


def with_rows(contents, rows):
    rows = torch.as_tensor(rows)
    return replace(
        contents,
        rows=contents.rows[rows],
        parts={part: codes[rows] for part, codes in contents.parts.items()},
        audio=contents.audio[rows],
        has_audio=contents.has_audio[rows],
    )


def test_unit_norms(content_tower, contents):
    torch.testing.assert_close(content_tower(contents).norm(dim=-1), torch.ones(NUM_CONTENTS))


@pytest.mark.parametrize("missing", list(product([False, True], repeat=3)))
@pytest.mark.parametrize("row", [0, NUM_CONTENTS - 1])
def test_any_parts_may_be_missing(content_tower, contents, missing, row):
    """The content is a trained or an untrained one, and no missing part is among the cases too."""
    one = with_rows(contents, [row])
    parts = {
        part: torch.zeros_like(codes) if gone else codes
        for gone, (part, codes) in zip(missing, one.parts.items(), strict=False)
    }
    one = replace(one, parts=parts, has_audio=torch.tensor([not missing[-1]]))
    vector = content_tower.requires_grad_()(one)
    assert torch.isfinite(vector).all()
    vector.sum().backward()
    for parameter in content_tower.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()


def test_an_absent_sound_adds_nothing(content_tower, contents):
    silent = replace(contents, has_audio=torch.zeros(NUM_CONTENTS, dtype=torch.bool))
    noise = replace(silent, audio=torch.randn(NUM_CONTENTS, AUDIO_DIM))
    assert torch.equal(content_tower(silent), content_tower(noise))


def test_each_part_matters(content_tower, contents):
    before = content_tower(contents)
    for part, size in VOCABULARY_SIZES.items():
        changed = {**contents.parts, part: (contents.parts[part] + 1) % size}
        assert (content_tower(replace(contents, parts=changed)) - before).abs().amax(dim=1).min() > 1e-4
    louder = content_tower(replace(contents, audio=contents.audio.flip(1)))
    changed = (louder - before).abs().amax(dim=1) > 1e-4
    assert torch.equal(changed, contents.has_audio)


def test_codes_are_averaged_over_those_that_are_there(content_tower, contents):
    one = with_rows(contents, [0])
    codes = torch.tensor([[2, 5, 0]])
    variants = [codes, torch.tensor([[5, 0, 2]]), torch.tensor([[2, 2, 5, 5]]), torch.tensor([[2, 5, 0, 0, 0]])]
    vectors = [content_tower(replace(one, parts={**one.parts, "genres": variant})) for variant in variants]
    for vector in vectors[1:]:
        torch.testing.assert_close(vector, vectors[0], **CLOSE)


class TestIdDelta:
    def test_is_zero_for_what_was_never_trained(self, content_tower, contents):
        """The two contents differ in the id alone."""
        twins = with_rows(contents, [0, 0])
        trained = replace(twins, rows=torch.tensor([1, 2]))
        untrained = replace(twins, rows=torch.tensor([8, 11]))
        one, other = content_tower(trained)
        assert (one - other).abs().max() > 1e-3
        one, other = content_tower(untrained)
        assert torch.equal(one, other)

    def test_gets_no_gradient_where_it_is_zero(self, content_tower, contents):
        content_tower(contents).square()[:, 0].sum().backward()
        (deltas,) = content_tower.id_parameters()
        grad = deltas.grad.abs().sum(dim=1)
        assert (grad[:8] > 0).all()
        assert (grad[8:] == 0).all()


class TestAdmission:
    """Contents 0 to 3 have zero to three events of training; their ids have a delta from two on."""

    @pytest.fixture(params=[Whole, Divided])
    def tower(self, request):
        torch.manual_seed(0)
        return ContentTower(
            vocabulary_sizes={"genres": 7}, audio_dim=0, is_audio_standardised=False, num_events=torch.arange(4),
            rows=request.param(rank=0, ranks=1), dim=DIM, hidden_dim=8, part_dropout=0.0, id_dropout=0.0,
            id_min_events=2, dropout=0.0,
        ).eval()  # fmt: skip

    def batch(self, contents):
        rows, nothing = torch.arange(4), torch.zeros(4, 0)
        parts = {"genres": torch.full((4, 1), 3)}
        return replace(contents, rows=rows, parts=parts, audio=nothing, has_audio=rows > 4)

    def test_ids_of_few_events_add_nothing(self, tower, contents):
        vectors = tower(self.batch(contents))
        known = torch.nn.functional.normalize(tower.without_id(self.batch(contents)), dim=-1)
        assert torch.equal(tower.has_delta, torch.tensor([False, False, True, True]))
        assert torch.equal(vectors[:2], known[:2])
        assert ((vectors[2:] - known[2:]).abs().amax(dim=1) > 1e-3).all()

    def test_nor_do_those_that_are_set(self, tower, contents):
        before = tower(self.batch(contents))
        tower.set_delta(torch.arange(4), torch.ones(4, DIM))
        after = tower(self.batch(contents))
        assert torch.equal(after[:2], before[:2])
        assert not torch.isclose(after[2:], before[2:]).all()

    def test_divided_tables_have_no_row_for_them(self, tower):
        (weight,) = tower.id_parameters()
        assert len(weight) == (4 if tower.divided_ids is None else 2)

    def test_deltas_go_with_their_contents(self, tower, contents):
        """In the new rows content 3 comes first, 1 second, and a new one last; 0 and 2 are gone."""
        moved = ContentTower.weights_moved(tower.state_dict(), torch.tensor([3, 1, -1]))
        assert moved["_is_trained"].tolist() == [True, False, False]
        before = dict(tower.named_parameters())["_id_delta.weight"]
        assert torch.equal(moved["_id_delta.weight"][0], before[-1])
        assert len(moved["_id_delta.weight"]) == (3 if tower.divided_ids is None else 1)


@pytest.mark.parametrize("rows", [Whole, Divided])
def test_weights_say_whose_ids_have_a_delta(rows, contents):
    """Content 1 was heard by one listener alone, who is forgotten: its trained delta stays, and others keep theirs."""

    def tower(*num_events):
        return ContentTower(
            vocabulary_sizes={}, audio_dim=0, is_audio_standardised=False, num_events=torch.tensor(num_events),
            rows=rows(rank=0, ranks=1), dim=DIM, hidden_dim=8, part_dropout=0.0, id_dropout=0.0, id_min_events=1,
            dropout=0.0,
        ).eval()  # fmt: skip

    before, after = tower(3, 1, 0, 2), tower(3, 0, 0, 2)
    (weight,) = after.id_parameters()
    after.load_state_dict(before.state_dict())
    assert after.id_parameters()[0] is weight
    rows, nothing = torch.arange(4), torch.zeros(4, 0)
    batch = replace(contents, rows=rows, parts={}, audio=nothing, has_audio=rows > 4)
    assert torch.equal(after(batch), before(batch))
    assert before(batch)[[0, 1, 3]].any(dim=1).all()


class TestDropout:
    def test_is_off_outside_of_training(self, content_tower, contents):
        assert torch.equal(content_tower(contents), content_tower(contents))

    def test_is_on_in_training(self, content_tower, contents):
        content_tower.train()
        assert not torch.equal(content_tower(contents), content_tower(contents))

    @pytest.fixture
    def share_like(self, contents):
        """Returns the share of 4000 trained copies of content 1 that get the vector of an untrained content without
        parts.
        """

        def share(part_dropout, id_dropout, genre):
            tower = ContentTower(
                vocabulary_sizes={"genres": 7}, audio_dim=0, is_audio_standardised=False,
                num_events=torch.arange(2), rows=WHOLE, dim=DIM, hidden_dim=8,
                part_dropout=part_dropout, id_dropout=id_dropout, id_min_events=1, dropout=0.0,
            )  # fmt: skip
            rows = torch.tensor([0] + 4_000 * [1])
            genres = torch.where(rows == 1, genre, 0)[:, None]
            nothing = torch.zeros(len(rows), 0)
            batch = replace(contents, rows=rows, parts={"genres": genres}, audio=nothing, has_audio=rows > 1)
            torch.manual_seed(0)
            vectors = tower.train()(batch)
            return (vectors[1:] - vectors[0]).abs().amax(dim=1).lt(1e-6).float().mean().item()

        return share

    def test_drops_the_delta_as_often_as_it_says(self, share_like):
        assert share_like(part_dropout=0.0, id_dropout=0.3, genre=0) == pytest.approx(0.3, abs=0.03)

    def test_drops_each_part_as_often_as_it_says(self, share_like):
        assert share_like(part_dropout=0.4, id_dropout=0.3, genre=5) == pytest.approx(0.4 * 0.3, abs=0.03)


def test_one_by_one_equals_all_at_once(content_tower, contents):
    alone = torch.cat([content_tower(with_rows(contents, [row])) for row in range(NUM_CONTENTS)])
    torch.testing.assert_close(content_tower(contents), alone, **CLOSE)


def test_no_content_at_all(content_tower, contents):
    nothing = with_rows(contents, torch.zeros(0, dtype=torch.int64))
    assert content_tower(nothing).shape == (0, DIM)


def test_loudness_is_heard_where_sound_is_standardised(contents):
    """Vectors of one direction and two lengths would be the same if each were normalised."""

    def vectors(is_standardised):
        torch.manual_seed(0)
        tower = ContentTower(
            vocabulary_sizes={}, audio_dim=AUDIO_DIM, is_audio_standardised=is_standardised,
            num_events=torch.zeros(NUM_CONTENTS, dtype=torch.int64), rows=WHOLE, dim=DIM, hidden_dim=8,
            part_dropout=0.0, id_dropout=0.0, id_min_events=1, dropout=0.0,
        ).eval()  # fmt: skip
        audio = torch.randn(AUDIO_DIM).expand(NUM_CONTENTS, -1) * torch.arange(1, NUM_CONTENTS + 1)[:, None] * 9
        heard = replace(contents, parts={}, audio=audio, has_audio=torch.ones(NUM_CONTENTS, dtype=torch.bool))
        return tower(heard)

    assert (vectors(False) - vectors(False)[0]).abs().max() < 1e-3
    assert (vectors(True) - vectors(True)[0]).abs().amax(dim=1)[1:].min() > 1e-3
