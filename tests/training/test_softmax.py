"""The softmax in chunks against the plain one in float64: value, gradients, uneven tails, accidental hits."""

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from towers.training import softmax_loss
from towers.training.negatives import AllTrained
from towers.training.objective import Softmax

TARGETS, CONTENTS, DIM, TEMPERATURE = 23, 40, 8, 0.1


@pytest.fixture
def objective():
    return Softmax(AllTrained(torch.ones(CONTENTS, dtype=torch.int64).numpy()), TEMPERATURE, True)


@pytest.fixture
def case():
    """States, contents, targets (some among the candidates, some not), weights (one of them 0), candidates, log_q."""
    torch.manual_seed(0)
    states = normalize(torch.randn(TARGETS, DIM), dim=-1)
    contents = normalize(torch.randn(CONTENTS, DIM), dim=-1)
    target = torch.randint(0, CONTENTS, (TARGETS,))
    target[0], target[1] = 0, CONTENTS - 1
    weight = torch.rand(TARGETS)
    weight[5] = 0
    candidates = torch.arange(1, CONTENTS, 2)
    log_q = -3 * torch.rand(len(candidates))
    return states, contents, target, weight, candidates, log_q


def plain(states, contents, temperature, target, weight, candidates, log_q):
    """The formula, one target at a time, in whatever precision comes in."""
    total = 0.0
    for state, place, share in zip(states, target, weight, strict=True):
        score = state @ contents[place] / temperature
        others = [
            (state @ contents[candidate] / temperature - correction).exp()
            for candidate, correction in zip(candidates, log_q, strict=True)
            if candidate != place
        ]
        total = total + share * ((score.exp() + torch.stack(others).sum()).log() - score)
    return total / weight.sum()


def value_and_gradients(states, contents, parameter, loss_of):
    leaves = [tensor.detach().clone().requires_grad_() for tensor in (states, contents, parameter)]
    loss = loss_of(*leaves)
    loss.backward()
    return [loss.detach(), *(leaf.grad for leaf in leaves)]


def chunked(objective, states, contents, *rest):
    """Value, and gradients for states, contents and the logarithm of the temperature."""
    objective.zero_grad()
    states, contents = (tensor.detach().clone().requires_grad_() for tensor in (states, contents))
    loss = objective(states, contents, *rest)
    loss.backward()
    return [loss.detach(), states.grad, contents.grad, objective._log_temperature.grad]


def reference(states, contents, target, weight, candidates, log_q):
    log_temperature = torch.tensor(TEMPERATURE, dtype=torch.float64).log()
    return value_and_gradients(
        states.double(),
        contents.double(),
        log_temperature,
        lambda s, c, t: plain(s, c, t.exp(), target, weight.double(), candidates, log_q.double()),
    )


def assert_all_close(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other.double(), atol=2e-6, rtol=2e-5)


def test_equals_the_plain_one_in_float64(objective, case):
    assert_all_close(chunked(objective, *case), reference(*case))


@pytest.mark.parametrize("targets_a_chunk", [1, 2, 7, 22, 23, 100])
def test_uneven_chunks_equal_one_chunk(objective, case, monkeypatch, targets_a_chunk):
    whole = chunked(objective, *case)
    monkeypatch.setattr(softmax_loss, "CHUNK_ENTRIES", targets_a_chunk * len(case[4]))
    assert_all_close(chunked(objective, *case), whole)


def test_a_chunk_smaller_than_a_row_still_works(objective, case, monkeypatch):
    whole = chunked(objective, *case)
    monkeypatch.setattr(softmax_loss, "CHUNK_ENTRIES", 3)
    assert_all_close(chunked(objective, *case), whole)


def test_with_all_contents_it_is_the_exact_softmax(objective, case):
    states, contents, target, weight, *_ = case
    everything, log_q = torch.arange(CONTENTS), torch.zeros(CONTENTS)
    found = chunked(objective, states, contents, target, torch.ones_like(weight), everything, log_q)
    log_temperature = torch.tensor(TEMPERATURE, dtype=torch.float64).log()
    expected = value_and_gradients(
        states.double(), contents.double(), log_temperature,
        lambda s, c, t: cross_entropy(s @ c.T / t.exp(), target),
    )  # fmt: skip
    assert_all_close(found, expected)


def test_weights_are_a_weighted_mean(objective, case):
    states, contents, target, weight, *rest = case
    losses = torch.stack([objective(states[[i]], contents, target[[i]], torch.ones(1), *rest) for i in range(TARGETS)])
    found = objective(states, contents, target, weight, *rest)
    torch.testing.assert_close(found, (losses * weight).sum() / weight.sum())
    torch.testing.assert_close(objective(states, contents, target, 7 * weight, *rest), found)


class TestHits:
    def test_a_target_among_the_candidates_is_counted_once(self, objective, case):
        """With or without itself among the candidates, and whatever its correction, the loss is the same."""
        states, contents, *_ = case
        one, target, weight = states[:1], torch.tensor([3]), torch.ones(1)
        without, among = torch.tensor([1, 5]), torch.tensor([1, 3, 5])
        expected = objective(one, contents, target, weight, without, torch.tensor([-0.5, -2.0]))
        for correction in (0.0, -9.0):
            found = objective(one, contents, target, weight, among, torch.tensor([-0.5, correction, -2.0]))
            torch.testing.assert_close(found, expected)

    def test_alone_among_the_candidates_leaves_nothing_to_learn(self, objective, case):
        states, contents, *_ = case
        one = states[:1].clone().requires_grad_()
        loss = objective(one, contents, torch.tensor([3]), torch.ones(1), torch.tensor([3]), torch.tensor([-1.0]))
        loss.backward()
        assert loss.item() == pytest.approx(0, abs=1e-6)
        assert one.grad.abs().max() < 1e-6

    @pytest.mark.parametrize("target", [0, 2, CONTENTS - 1])
    def test_a_target_beside_the_candidates_masks_none_of_them(self, objective, case, target):
        """Before the first, between two, and after the last."""
        states, contents, *_ = case
        candidates, log_q = torch.tensor([1, 3]), torch.tensor([-1.0, -0.2])
        found = objective(states[:1], contents, torch.tensor([target]), torch.ones(1), candidates, log_q)
        expected = plain(states[:1], contents, TEMPERATURE, torch.tensor([target]), torch.ones(1), candidates, log_q)
        torch.testing.assert_close(found, expected)


def test_a_rarely_drawn_candidate_counts_for_more(objective, case):
    states, contents, *_ = case
    losses = [
        objective(states[:1], contents, torch.tensor([0]), torch.ones(1), torch.tensor([1]), torch.tensor([log_q]))
        for log_q in (0.0, -1.0, -5.0)
    ]
    assert losses[0] < losses[1] < losses[2]


def test_no_target_gives_nothing_and_no_gradient(objective, case):
    states, contents, target, weight, *rest = case
    states = states.clone().requires_grad_()
    loss = objective(states[:0], contents, target[:0], weight[:0], *rest)
    loss.backward()
    assert loss == 0
    assert (states.grad == 0).all()


def test_extreme_temperatures_stay_finite(case):
    states, contents, target, weight, candidates, log_q = case
    cold = Softmax(AllTrained(torch.ones(CONTENTS, dtype=torch.int64).numpy()), 0.01, True)
    for value in chunked(cold, 5 * states, contents, target, weight, candidates, log_q - 20):
        assert torch.isfinite(value).all()


def test_temperature_keeps_to_its_bounds():
    sampler = AllTrained(torch.ones(3, dtype=torch.int64).numpy())
    assert Softmax(sampler, 0.07, True).temperature.item() == pytest.approx(0.07)
    assert Softmax(sampler, 1e-5, True).temperature.item() == pytest.approx(Softmax.MIN_TEMPERATURE)
    assert Softmax(sampler, 50.0, True).temperature.item() == pytest.approx(Softmax.MAX_TEMPERATURE)


def test_a_fixed_temperature_is_not_learned(case):
    sampler = AllTrained(torch.ones(CONTENTS, dtype=torch.int64).numpy())
    objective = Softmax(sampler, 0.1, is_temperature_learned=False)
    states = case[0].clone().requires_grad_()
    objective(states, *case[1:]).backward()
    assert states.grad.abs().sum() > 0
    assert objective._log_temperature.grad is None
