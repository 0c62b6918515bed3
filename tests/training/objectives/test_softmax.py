"""The softmaxes against their formulas in float64, and against the losses that they equal."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from tests.contracts.objective import (
    CANDIDATES,
    CONTENTS,
    FLOAT64,
    TARGETS,
    CountsTheTargetOnce,
    ObjectiveContract,
    assert_all_close,
    make_case,
    value_and_gradients,
)
from towers.batch import TrainingBatch
from towers.training.objectives import chunks, softmax_loss
from towers.training.objectives.negatives import AllTrained, InBatchAndUniform
from towers.training.objectives.softmax import LogQSoftmax, RefinedLogQSoftmax, Softmax
from towers.training.objectives.softmax_loss import Heard
from towers.training.objectives.temperature import Temperature

POSITIVES = np.ones(CONTENTS, dtype=np.int64)
ALL, IN_BATCH = AllTrained(POSITIVES), InBatchAndUniform(POSITIVES, 4, True)
TEMPERATURE, REJECTION_WEIGHT = 0.1, 0.3
EXTRAS = {"num_rejections": 3, "rejection_weight": REJECTION_WEIGHT, "mask_heard": True}


class SoftmaxFormula:
    """The formula `log(sum over what competes) - s+`, with every way of competing."""

    is_corrected = is_target_corrected = has_extras = False

    def loss_of_one(self, objective, state, contents, log_q, target, heard, rejected):
        scores = contents @ state
        if not self.is_corrected:
            log_q = torch.zeros_like(log_q)
        left_out = set(heard) if self.has_extras and target not in heard else set()
        if not self.is_target_corrected:
            left_out.add(target)
        terms = [(scores[c] - log_q[c]).exp() for c in range(len(log_q)) if c not in left_out]
        own = scores[target]
        if self.is_target_corrected:
            own = own - log_q[target]
        else:
            terms.append(own.exp())
        if self.has_extras:
            terms += [REJECTION_WEIGHT * scores[r].exp() for r in rejected if r >= 0 and r != target]
        return torch.stack(terms).sum().log() - own


class TestSoftmax(SoftmaxFormula, CountsTheTargetOnce, ObjectiveContract):
    @pytest.fixture
    def objective(self):
        return Softmax(ALL, TEMPERATURE, True)

    def test_with_all_contents_it_is_cross_entropy(self, objective):
        case = make_case(log_q=torch.zeros(CONTENTS)).to(torch.float64)
        case = case.with_targets(weight=torch.ones(TARGETS))
        states, contents = (tensor.clone().requires_grad_() for tensor in (case.states, case.contents))
        logits = states @ contents.T / objective.temperature.value.detach().double()
        loss = cross_entropy(logits, case.targets.index, reduction="sum")
        loss.backward()
        found = value_and_gradients(objective, case)[:3]
        assert_all_close(found, [loss, states.grad, contents.grad], atol=1e-6, rtol=1e-6)


class TestRefinedLogQSoftmax(SoftmaxFormula, CountsTheTargetOnce, ObjectiveContract):
    is_corrected = True

    @pytest.fixture
    def objective(self):
        return RefinedLogQSoftmax(ALL, TEMPERATURE, True)

    def test_its_gradient_is_that_of_the_papers_loss(self, objective, case):
        """The gradient is `-sg(1 - P) * (s+ - log(sum over negatives of exp(s - log_q)))`, with the target not among
        the negatives.
        """
        case = case.to(torch.float64)
        states, contents = (tensor.clone().requires_grad_() for tensor in (case.states, case.contents))
        total = 0.0
        for state, target, weight in zip(states, case.targets.index, case.targets.weight, strict=True):
            scores = contents @ state / objective.temperature.value.detach().double()
            negatives = (scores[:CANDIDATES] - case.log_q)[torch.arange(CANDIDATES) != target].exp().sum()
            probability = scores[target].exp() / (scores[target].exp() + negatives)
            total = total - weight * (1 - probability).detach() * (scores[target] - negatives.log())
        total.backward()
        found = value_and_gradients(objective, case)
        assert_all_close(found[1:3], [states.grad, contents.grad], atol=1e-6, rtol=1e-6)

    def test_equals_the_plain_one_without_corrections(self, objective):
        case = make_case(log_q=torch.zeros(CANDIDATES)).to(torch.float64)
        plain = value_and_gradients(Softmax(ALL, TEMPERATURE, True), case)
        assert_all_close(value_and_gradients(objective, case), plain, **FLOAT64)

    def test_a_rarely_drawn_candidate_counts_for_more(self, objective, case):
        losses = [
            value_and_gradients(objective, replace(case, log_q=case.log_q - rarer))[0] for rarer in (0.0, 1.0, 5.0)
        ]
        assert losses[0] < losses[1] < losses[2]


class TestLogQSoftmax(SoftmaxFormula, ObjectiveContract):
    is_corrected = is_target_corrected = True

    @pytest.fixture
    def case(self):
        return make_case(all_are_candidates=True)

    @pytest.fixture
    def objective(self):
        return LogQSoftmax(IN_BATCH, TEMPERATURE, True)

    def test_equals_the_plain_one_without_corrections(self, objective):
        case = make_case(log_q=torch.zeros(CANDIDATES), all_are_candidates=True).to(torch.float64)
        plain = value_and_gradients(Softmax(ALL, TEMPERATURE, True), case)
        assert_all_close(value_and_gradients(objective, case), plain, **FLOAT64)

    def test_needs_the_targets_among_the_candidates(self):
        with pytest.raises(ValueError, match="in_batch"):
            LogQSoftmax(InBatchAndUniform(POSITIVES, 4, False), TEMPERATURE, True)
        with pytest.raises(ValueError, match="max_in_batch"):
            LogQSoftmax(InBatchAndUniform(POSITIVES, 4, True, max_in_batch=2), TEMPERATURE, True)


class WithExtras(SoftmaxFormula):
    has_extras = True


class TestSoftmaxWithExtras(WithExtras, CountsTheTargetOnce, ObjectiveContract):
    @pytest.fixture
    def objective(self):
        return Softmax(ALL, TEMPERATURE, True, **EXTRAS)


class TestRefinedLogQSoftmaxWithExtras(WithExtras, CountsTheTargetOnce, ObjectiveContract):
    is_corrected = True

    @pytest.fixture
    def objective(self):
        return RefinedLogQSoftmax(ALL, TEMPERATURE, True, **EXTRAS)


class TestLogQSoftmaxWithExtras(WithExtras, ObjectiveContract):
    is_corrected = is_target_corrected = True

    @pytest.fixture
    def case(self):
        return make_case(all_are_candidates=True)

    @pytest.fixture
    def objective(self):
        return LogQSoftmax(IN_BATCH, TEMPERATURE, True, **EXTRAS)


class TestOffSwitches:
    @pytest.mark.parametrize(
        "off", [{"num_rejections": 0}, {"num_rejections": 3, "rejection_weight": 0.0}, {"mask_heard": False}]
    )
    def test_are_exactly_off(self, off):
        case = make_case()
        plain = value_and_gradients(RefinedLogQSoftmax(ALL, TEMPERATURE, True), case)
        found = value_and_gradients(RefinedLogQSoftmax(ALL, TEMPERATURE, True, **off), case)
        assert all(torch.equal(one, other) for one, other in zip(found, plain, strict=True))

    @pytest.mark.parametrize("extra", [{"num_rejections": 3}, {"mask_heard": True}])
    def test_nothing_rejected_and_nothing_heard_changes_nothing(self, extra):
        case = make_case().to(torch.float64)
        case = case.with_targets(rejected=torch.full((TARGETS, 3), -1), event=torch.zeros(TARGETS, dtype=torch.int64))
        plain = value_and_gradients(Softmax(ALL, TEMPERATURE, True), case)
        assert_all_close(value_and_gradients(Softmax(ALL, TEMPERATURE, True, **extra), case), plain, **FLOAT64)

    def test_a_rejection_far_above_everything_stays_finite(self):
        """The rejected content is the state itself, all others are its opposite, and the temperature is small."""
        case = make_case()
        contents = -case.states[0].repeat(CONTENTS, 1)
        contents[9] = case.states[0]
        one = replace(case, contents=contents).of([0]).with_targets(rejected=torch.tensor([[9, -1, -1]]))
        found = value_and_gradients(Softmax(ALL, 0.01, False, num_rejections=3), replace(one, log_q=one.log_q[:5]))
        assert found[0] / one.targets.weight[0] > 88  # in float32 exp(89) is infinite
        assert all(torch.isfinite(tensor).all() for tensor in found[:3])

    def test_asks_for_no_rejections_that_it_would_not_use(self):
        assert Softmax(ALL, TEMPERATURE, True, num_rejections=3).num_rejections == 3
        assert Softmax(ALL, TEMPERATURE, True, num_rejections=3, rejection_weight=0.0).num_rejections == 0

    @pytest.mark.parametrize("wrong", [{"num_rejections": -1}, {"rejection_weight": -0.1}])
    def test_refuses(self, wrong):
        with pytest.raises(ValueError, match="0 or more"):
            Softmax(ALL, TEMPERATURE, True, **wrong)


class TestMaskHeard:
    """Window 0 of the case holds 7 first; the target of place 2 is 7, at event 3."""

    def loss(self, *, index, event, **extras):
        case = make_case().to(torch.float64).of([2])
        heard = torch.full_like(case.micro_batch.histories.content_index, -1)
        heard[0, :3] = torch.tensor([7, 4, CONTENTS - 1])  # the last is no candidate
        histories = replace(case.micro_batch.histories, content_index=heard)
        case = replace(case, micro_batch=replace(case.micro_batch, histories=histories))
        case = case.with_targets(index=torch.tensor([index]), event=torch.tensor([event]), weight=torch.ones(1))
        return value_and_gradients(Softmax(ALL, TEMPERATURE, True, **extras), case)

    def test_a_first_listen_does_not_compete_with_what_was_heard(self):
        masked, plain = self.loss(index=9, event=2, mask_heard=True), self.loss(index=9, event=2)
        assert masked[0] < plain[0]
        assert (masked[2][[7, 4]].abs() < 1e-30).all()
        assert (masked[2][3] != 0).any()
        assert (plain[2][[7, 4]] != 0).any(dim=1).all()

    def test_what_comes_later_competes(self):
        assert (self.loss(index=9, event=1, mask_heard=True)[2][4] != 0).any()

    def test_a_repeat_competes_with_everything(self):
        found, plain = self.loss(index=7, event=3, mask_heard=True), self.loss(index=7, event=3)
        assert all(torch.equal(one, other) for one, other in zip(found, plain, strict=True))

    def test_a_repeat_of_later_on_is_a_first_listen_yet(self):
        assert (self.loss(index=4, event=1, mask_heard=True)[2][7].abs() < 1e-30).all()

    @given(
        heard=st.lists(st.lists(st.integers(-1, 4), min_size=4, max_size=4), min_size=2, max_size=2),
        target=st.integers(0, 4), window=st.integers(0, 1), event=st.integers(0, 4),
    )  # fmt: skip
    def test_a_target_stands_before_itself_or_not(self, heard, target, window, event):
        limit = Heard(torch.tensor(heard), torch.tensor([window]), torch.tensor([event])).limit(torch.tensor([target]))
        assert limit.tolist() == [0 if target in heard[window][:event] else event]


class TestExponents:
    """Exponents relative to the greatest logit or, where none can be large, absolute: the same value and gradients."""

    @pytest.mark.parametrize("entries", [chunks.ENTRIES_IN_CACHE, 5 * CANDIDATES])
    @pytest.mark.parametrize("softmax", [RefinedLogQSoftmax, Softmax])
    def test_are_the_same_either_way(self, softmax, entries, monkeypatch):
        monkeypatch.setattr(chunks, "ENTRIES_IN_CACHE", entries)
        objective, case = softmax(ALL, TEMPERATURE, True, **EXTRAS), make_case().to(torch.float64)
        found = value_and_gradients(objective, case)
        monkeypatch.setattr(softmax_loss, "GREATEST_UNSHIFTED", 0.0)
        assert_all_close(value_and_gradients(objective, case), found, **FLOAT64)

    @pytest.mark.parametrize(("temperature", "are_small"), [(0.07, True), (0.03, False), (float("nan"), False)])
    def test_are_small_by_the_lengths_of_the_vectors(self, temperature, are_small):
        case = make_case()
        assert softmax_loss._are_small(case.states / temperature, case.contents) is are_small


class TestMaskUnavailable:
    """Candidates that come while the targets do: the formula, target by target, over those that existed then."""

    @pytest.fixture(params=[Softmax, RefinedLogQSoftmax])
    def objective(self, request):
        return request.param(ALL, 0.1, is_temperature_learned=True, mask_unavailable=True)

    @staticmethod
    def observed(objective, case, since_s):
        """Shows the objective a batch, as the begin of a step does."""
        objective.observe(
            TrainingBatch(
                micro_batches=(case.micro_batch,), content_rows=torch.arange(CONTENTS), candidate_log_q=case.log_q,
                candidate_since_s=since_s, target_rows=case.targets.index, total_weight=torch.tensor(1.0),
                fresh_index=torch.zeros(0, dtype=torch.int64), fresh_spectrograms=torch.zeros(0, 1, 8),
                epoch=0, number=0, batches=1,
            )
        )  # fmt: skip
        return objective(case.states, case.contents, case.log_q, case.micro_batch)

    def test_equals_the_formula_over_what_was_there(self, objective, monkeypatch):
        monkeypatch.setattr(chunks, "ENTRIES_IN_CACHE", 5 * CANDIDATES)
        case = make_case().to(torch.float64)
        since_s = torch.randint(0, 100, (CANDIDATES,), generator=torch.Generator().manual_seed(1))
        log_q = case.log_q.double() if type(objective) is RefinedLogQSoftmax else torch.zeros(CANDIDATES).double()
        states, contents = (tensor.clone().requires_grad_() for tensor in (case.states, case.contents))
        expected = torch.zeros((), dtype=torch.float64)
        targets = case.targets
        for state, target, weight, time_s in zip(states, targets.index, targets.weight, targets.time_s, strict=True):
            scores = contents @ state / objective.temperature.value.detach().double()
            there = (since_s <= time_s) & (torch.arange(CANDIDATES) != target)
            others = (scores[:CANDIDATES][there] - log_q[there]).exp().sum()
            expected = expected + weight * ((scores[target].exp() + others).log() - scores[target])
        expected.backward()
        own = [tensor.clone().requires_grad_() for tensor in (case.states, case.contents)]
        found = self.observed(objective, replace(case, states=own[0], contents=own[1]), since_s)
        found.backward()
        assert_all_close(
            [found.detach(), own[0].grad, own[1].grad], [expected.detach(), states.grad, contents.grad],
            rtol=1e-6, atol=1e-6,
        )  # fmt: skip

    def test_what_was_always_there_changes_nothing(self, objective):
        case = make_case()
        plain = type(objective)(ALL, 0.1, is_temperature_learned=True)
        found = self.observed(objective, case, torch.zeros(CANDIDATES, dtype=torch.int32))
        assert torch.equal(found, plain(case.states, case.contents, case.log_q, case.micro_batch))

    def test_no_gradient_reaches_what_was_not_there(self, objective):
        case = make_case()
        contents = case.contents.clone().requires_grad_()
        since_s = torch.zeros(CANDIDATES, dtype=torch.int32)
        never = [place for place in range(CANDIDATES) if place not in case.targets.index.tolist()]
        since_s[never] = 1_000
        self.observed(objective, replace(case, contents=contents), since_s).backward()
        assert (contents.grad[never].abs() < 1e-30).all()
        assert (contents.grad[case.targets.index[:3]].abs() > 1e-6).any()


@pytest.mark.gpu
class TestOnCuda:
    @pytest.mark.parametrize("is_autocast", [False, True])
    def test_equals_the_processor_and_never_waits(self, is_autocast):
        objective, case = RefinedLogQSoftmax(ALL, TEMPERATURE, True, **EXTRAS), make_case()
        expected = value_and_gradients(objective, case)
        objective.cuda()
        moved = replace(
            case, states=case.states.cuda(), contents=case.contents.cuda(), log_q=case.log_q.cuda(),
            micro_batch=case.micro_batch.to("cuda"),
        )  # fmt: skip
        torch.cuda.set_sync_debug_mode("error")
        try:
            with torch.autocast("cuda", torch.bfloat16, enabled=is_autocast):
                found = value_and_gradients(objective, moved)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert_all_close([tensor.cpu() for tensor in found], expected, atol=1e-4, rtol=1e-3)


class TestMemory:
    def test_chunks_cover_everything_within_their_room(self):
        for targets, candidates in [(8_192, 3_416), (8_192, 1_000_000), (1, 1), (10, 100_000_000), (5, 0)]:
            rows, columns = chunks.chunk_shape(targets, candidates, is_cuda=False)
            assert 1 <= rows <= max(targets, 1)
            assert columns >= 1
            assert rows == 1 or rows * candidates <= chunks.ENTRIES_KEPT

    def test_a_second_derivative_is_refused(self):
        states = make_case().states.requires_grad_()
        case = make_case()
        loss = Softmax(ALL, TEMPERATURE, True)(states, case.contents, case.log_q, case.micro_batch)
        with pytest.raises(RuntimeError, match="second derivative"):
            torch.autograd.grad(loss, states, create_graph=True)


class TestTemperature:
    @pytest.mark.parametrize(("reached", "kept"), [(0.07, 0.07), (1e-5, Temperature.MIN), (50.0, Temperature.MAX)])
    def test_keeps_to_its_bounds_and_finds_its_way_back(self, reached, kept):
        temperature = Temperature(0.1, True)
        with torch.no_grad():
            temperature.logarithm.fill_(np.log(reached))
        temperature.value.backward()
        assert temperature.value.item() == pytest.approx(kept)
        assert temperature.logarithm.grad.item() == pytest.approx(reached)

    @pytest.mark.parametrize("start", [0.0, -1.0, float("nan"), 0.001, 2.0])
    def test_refuses(self, start):
        with pytest.raises(ValueError, match="must lie in"):
            Temperature(start, True)

    def test_a_fixed_one_is_not_learned(self):
        objective = Softmax(ALL, TEMPERATURE, is_temperature_learned=False)
        _, states, _, temperature = value_and_gradients(objective, make_case())
        assert states.abs().sum() > 0
        assert temperature is None

    def test_is_what_is_logged(self):
        assert Softmax(ALL, TEMPERATURE, True).logged()["temperature"].item() == pytest.approx(TEMPERATURE)
