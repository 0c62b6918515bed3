"""Contract of every `Objective`, on 23 targets and 40 contents, against its formula in float64."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from towers.batch import HistoryBatch, MicroBatch, Targets
from towers.training.objectives import chunks

TARGETS, CONTENTS, CANDIDATES, DIM, WINDOWS, LENGTH = 23, 40, 30, 8, 6, 5
FLOAT64, FLOAT32 = {"atol": 1e-9, "rtol": 1e-9}, {"atol": 2e-5, "rtol": 2e-4}


@dataclass(frozen=True)
class Case:
    """Arguments of an objective's `forward`."""

    states: Tensor
    contents: Tensor
    log_q: Tensor
    micro_batch: MicroBatch

    def to(self, dtype) -> "Case":
        return replace(self, states=self.states.to(dtype), contents=self.contents.to(dtype))

    def of(self, places) -> "Case":
        """Returns the case with some of its targets."""
        kept = {name: getattr(self.targets, name)[places] for name in Targets.__dataclass_fields__}
        return replace(self, states=self.states[places], micro_batch=replace(self.micro_batch, targets=Targets(**kept)))

    def with_targets(self, **changed) -> "Case":
        return replace(self, micro_batch=replace(self.micro_batch, targets=replace(self.targets, **changed)))

    @property
    def targets(self) -> Targets:
        return self.micro_batch.targets


def make_case(*, seed=0, log_q=None, all_are_candidates=False) -> Case:
    """Makes a case: some targets are candidates; one has weight 0; windows hold candidates, other contents, and
    none.
    """
    generator = torch.Generator().manual_seed(seed)

    def integers(low, high, *shape):
        return torch.randint(low, high, shape, generator=generator)

    heard = integers(-1, CONTENTS, WINDOWS, LENGTH)
    window, event = integers(0, WINDOWS, TARGETS), integers(0, LENGTH + 1, TARGETS)
    index = integers(0, CANDIDATES if all_are_candidates else CONTENTS, TARGETS)
    index[0], index[1] = 0, CANDIDATES - 1
    heard[0, 0] = index[2] = 7  # chosen before: a repeat
    window[2], event[2] = 0, 3
    rejected = integers(-1, CONTENTS, TARGETS, 3)
    rejected[3, 1] = index[3]
    weight = torch.rand(TARGETS, generator=generator)
    weight[5] = 0
    if log_q is None:
        log_q = -3 * torch.rand(CANDIDATES, generator=generator)
    targets = Targets(
        position=window * (LENGTH + 1) + event, index=index, weight=weight, event=event, window=window,
        rejected=rejected, time_s=integers(0, 100, TARGETS),
    )  # fmt: skip
    return Case(
        normalize(torch.randn(TARGETS, DIM, generator=generator), dim=1),
        normalize(torch.randn(CONTENTS, DIM, generator=generator), dim=1),
        log_q,
        MicroBatch(histories=histories_of(heard), targets=targets),
    )


def histories_of(heard) -> HistoryBatch:
    nothing = torch.zeros_like(heard)
    return HistoryBatch(
        content_index=heard, action=nothing, elapsed=nothing, played=nothing, context=nothing,
        padding_mask=heard < 0, user_codes=torch.zeros(len(heard), 0, dtype=torch.int64),
    )  # fmt: skip


def value_and_gradients(objective, case: Case, scale=1.0):
    """Returns the loss and its gradients for states, contents and the logarithm of the temperature."""
    objective.zero_grad()
    states, contents = (tensor.detach().clone().requires_grad_() for tensor in (case.states, case.contents))
    loss = objective(states, contents, case.log_q, case.micro_batch)
    (scale * loss).backward()
    return [loss.detach(), states.grad, contents.grad, objective.temperature.logarithm.grad]


def assert_all_close(found, expected, **tolerance):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other.double(), **tolerance)


class ObjectiveContract:
    """Inherit; give a fixture `objective`, and `loss_of_one`: the formula for one target, in float64.

    `loss_of_one(objective, state, contents, log_q, target, heard, rejected)`: `state` is divided by the temperature
    already, `heard` are the indices of what the window holds before the target, `rejected` those turned down, -1 and
    all.
    """

    @pytest.fixture
    def case(self) -> Case:
        return make_case()

    def reference(self, objective, case: Case):
        """Computes value and gradients by the formula, one target at a time."""
        states, contents = (tensor.detach().double().requires_grad_() for tensor in (case.states, case.contents))
        logarithm = objective.temperature.logarithm.detach().double().requires_grad_()
        total = 0.0 * (states.sum() + contents.sum() + logarithm)
        for at, state in enumerate(states):
            window, event = case.targets.window[at], case.targets.event[at]
            heard = case.micro_batch.histories.content_index[window, :event].tolist()
            rejected, target = case.targets.rejected[at].tolist(), int(case.targets.index[at])
            loss = self.loss_of_one(
                objective, state / logarithm.exp(), contents, case.log_q.double(), target, heard, rejected
            )
            total = total + case.targets.weight[at].double() * loss
        total.backward()
        return [total.detach(), states.grad, contents.grad, logarithm.grad]

    @pytest.mark.parametrize(
        ("dtype", "tolerance"), [(torch.float64, {"atol": 1e-5, "rtol": 1e-6}), (torch.float32, FLOAT32)]
    )
    def test_value_and_gradient_are_the_formulas(self, objective, case, dtype, tolerance):
        found = value_and_gradients(objective, case.to(dtype))
        assert_all_close(found, self.reference(objective, case), **tolerance)

    @pytest.mark.parametrize(("rows", "entries"), [(1, 1), (1, 5), (5, 35), (7, 7 * 29), (23, 23), (100, 10_000)])
    def test_uneven_chunks_equal_one_chunk(self, objective, case, monkeypatch, rows, entries):
        whole = value_and_gradients(objective, case.to(torch.float64))
        monkeypatch.setattr(chunks, "MIN_ROWS", rows)
        monkeypatch.setattr(chunks, "ENTRIES_IN_CACHE", entries)
        assert_all_close(value_and_gradients(objective, case.to(torch.float64))[:3], whole[:3], **FLOAT64)

    def test_micro_batches_add_up(self, objective, case):
        case = case.to(torch.float64)
        whole = value_and_gradients(objective, case)
        parts = [torch.arange(0, 10), torch.arange(10, 11), torch.arange(11, TARGETS)]
        values, states, contents, temperature = zip(
            *(value_and_gradients(objective, case.of(part)) for part in parts), strict=True
        )
        assert_all_close([sum(values), torch.cat(states), sum(contents)], whole[:3], **FLOAT64)
        torch.testing.assert_close(sum(temperature), whole[3])

    def test_weights_make_a_sum(self, objective, case):
        case = case.to(torch.float64)
        ones = torch.ones(1)
        losses = [
            case.targets.weight[at] * value_and_gradients(objective, case.of([at]).with_targets(weight=ones))[0]
            for at in range(TARGETS)
        ]
        torch.testing.assert_close(value_and_gradients(objective, case)[0], sum(losses), **FLOAT64)

    def test_a_weight_of_zero_counts_nothing(self, objective, case):
        case = case.to(torch.float64)
        others = torch.cat([torch.arange(5), torch.arange(6, TARGETS)])
        value, states, contents, _ = value_and_gradients(objective, case)
        without = value_and_gradients(objective, case.of(others))
        assert (states[5] == 0).all()
        assert_all_close([value, states[others], contents], without[:3], **FLOAT64)

    def test_what_scales_the_loss_scales_the_gradient(self, objective, case):
        plain, scaled = (value_and_gradients(objective, case.to(torch.float64), scale) for scale in (1.0, 0.25))
        assert_all_close(scaled[1:], [0.25 * gradient for gradient in plain[1:]], atol=1e-6, rtol=1e-6)

    def test_no_target_gives_nothing_and_no_gradient(self, objective, case):
        value, states, contents, temperature = value_and_gradients(objective, case.of(torch.arange(0)))
        assert value == 0
        assert states.shape == (0, DIM)
        assert (contents == 0).all()
        assert temperature == 0

    def test_extreme_logits_stay_finite(self, objective, case):
        case = replace(case, states=50 * case.states, log_q=case.log_q - 20)
        assert all(torch.isfinite(tensor).all() for tensor in value_and_gradients(objective, case))

    def test_bfloat16_comes_in_and_goes_out(self, objective, case):
        rounded = case.to(torch.bfloat16)
        found = value_and_gradients(objective, rounded)
        assert found[1].dtype == found[2].dtype == torch.bfloat16
        expected = value_and_gradients(objective, rounded.to(torch.float32))
        assert_all_close(found[:3], expected[:3], atol=1e-2, rtol=1e-2)


class CountsTheTargetOnce:
    """Contract beside the other for objectives whose targets are never their own negatives, under any correction."""

    def test_a_target_among_the_candidates_is_counted_once(self, objective, case):
        case = case.to(torch.float64)
        one = case.of([0]).with_targets(index=torch.tensor([0]), event=torch.tensor([0]))
        log_q = case.log_q.clone()
        among = value_and_gradients(objective, one)
        log_q[0] = -9
        assert_all_close(value_and_gradients(objective, replace(one, log_q=log_q)), among, **FLOAT64)
        # As the last of the contents, behind the candidates; one candidate fewer.
        order = torch.cat([torch.arange(1, CONTENTS), torch.tensor([0])])
        place = torch.argsort(order)
        rejected = torch.where(one.targets.rejected < 0, -1, place[one.targets.rejected.clamp(min=0)])
        moved = replace(one, contents=one.contents[order], log_q=case.log_q[1:])
        moved = moved.with_targets(index=place[one.targets.index], rejected=rejected)
        beside = value_and_gradients(objective, moved)
        assert_all_close([beside[0], beside[1], beside[2][place]], among[:3], **FLOAT64)

    def test_alone_among_the_candidates_leaves_nothing_to_learn_from_them(self, objective, case):
        rejected = torch.full((1, 3), -1)
        one = case.of([0]).with_targets(index=torch.tensor([0]), rejected=rejected, weight=torch.ones(1))
        alone = value_and_gradients(objective, replace(one, log_q=case.log_q[:1]))
        none = value_and_gradients(objective, replace(one, log_q=case.log_q[:0]))
        assert_all_close(alone[:3], none[:3], atol=1e-6, rtol=1e-6)
