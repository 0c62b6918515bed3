"""Histories to vectors: the events that a state may depend on, and that padding changes nothing."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from tests.models.conftest import CONTEXTS, COUNTRIES, DIM, NUM_CONTENTS
from towers.batch import Packing
from towers.features.events import NUM_ACTIONS, NUM_ELAPSED_BUCKETS, NUM_PLAYED_BUCKETS
from towers.models.blocks import LiGRBlock, SASRecBlock, SwiGLUBlock
from towers.models.positions import Learned, Rotary
from towers.models.user_tower import UserTower

# Rounding of float32 over two layers. A leak of an event's content shows in the first decimals.
CLOSE = {"atol": 2e-6, "rtol": 0}
SIZES = {
    "content_index": NUM_CONTENTS,
    "action": NUM_ACTIONS,
    "elapsed": NUM_ELAPSED_BUCKETS,
    "played": NUM_PLAYED_BUCKETS,
    "context": CONTEXTS,
}

PARTS = {
    "swiglu": {"block": partial(SwiGLUBlock, expansion=2), "positions": partial(Rotary, base=10_000.0)},
    "ligr": {"block": partial(LiGRBlock, expansion=2), "positions": partial(Rotary, base=10_000.0)},
    "sasrec": {
        "block": partial(SASRecBlock, expansion=1, activation="relu"), "positions": partial(Learned, max_length=5)
    },
}  # fmt: skip


def make_user_tower(parts, **settings):
    """Makes a small tower, without dropout by default."""
    torch.manual_seed(4)
    keywords = {"dim": 16, "num_layers": 2, "num_heads": 2, "dropout": 0.0, **PARTS[parts], **settings}
    return UserTower(user_vocabulary_sizes=(COUNTRIES,), num_contexts=CONTEXTS, content_dim=DIM, **keywords)


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
        """Returns each listener's vector, encoded in a batch of one without padding."""
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
        """Otherwise reading a wrong position would not be noticed."""
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


class TestStatesAt:
    LENGTHS = (7, 3, 0, 5)
    POSITIONS = (0, 7, 8, 11, 16, 24, 29, 7)  # of 8 tokens a listener: first and last states, and one twice

    def gradients(self, tower, states, content_vectors):
        tower.zero_grad()
        content_vectors.grad = None
        (states * torch.arange(states.numel()).view(states.shape).sin()).sum().backward()
        named = {name: parameter.grad.clone() for name, parameter in tower.user_tower.named_parameters()}
        return {**named, "content_vectors": content_vectors.grad.clone()}

    @pytest.mark.parametrize("packed", [False, True])
    @pytest.mark.parametrize("width", [7, 12])
    @pytest.mark.parametrize("block", ["swiglu", "ligr", "sasrec"])
    def test_gathered_padded_bucketed_and_packed_agree(
        self, two_tower, content_vectors, make_histories, monkeypatch, packed, width, block
    ):
        """They agree in value and gradient in float64, and with all states of one padding."""
        two_tower.user_tower = make_user_tower(block)
        two_tower.double()
        vectors = content_vectors.double().requires_grad_()
        positions = torch.tensor(self.POSITIONS)
        expected = two_tower.encode_histories(make_histories(self.LENGTHS), vectors).flatten(0, 1)[positions]
        expected_gradients = self.gradients(two_tower, expected, vectors)
        histories = make_histories(self.LENGTHS, width)
        histories = replace(histories, packing=Packing.of(histories.padding_mask))
        monkeypatch.setattr(two_tower.user_tower, "packs", lambda device: packed)
        wider = positions // 8 * (width + 1) + positions % 8
        found = two_tower.encode_states(histories, vectors, wider)
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
        for name, gradient in self.gradients(two_tower, found, vectors).items():
            torch.testing.assert_close(gradient, expected_gradients[name], atol=1e-10, rtol=1e-9, msg=name)


class TestEventDropout:
    def states(self, tower, content_vectors, histories):
        return tower(
            content_vectors[histories.content_index],
            histories.action, histories.elapsed, histories.played, histories.context, histories.user_codes,
        )  # fmt: skip

    def test_an_event_loses_its_content_or_nothing(self, content_vectors, make_histories):
        """The state after one event is one of two; and each comes up."""
        tower, histories = make_user_tower("swiglu", event_dropout=0.5), make_histories([1])
        whole = self.states(tower.eval(), content_vectors, histories)
        without = self.states(tower, torch.zeros_like(content_vectors), histories)
        assert (whole - without)[0, 1].abs().max() > 1e-3
        found = [self.states(tower.train(), content_vectors, histories) for _ in range(40)]
        is_whole = [torch.allclose(states, whole) for states in found]
        assert all(torch.allclose(states, without) for states, is_it in zip(found, is_whole, strict=True) if not is_it)
        assert 5 < sum(is_whole) < 35

    def test_off_is_exactly_off(self, content_vectors, make_histories):
        histories = make_histories([6])
        off = self.states(make_user_tower("swiglu", event_dropout=0.0).train(), content_vectors, histories)
        still = self.states(make_user_tower("swiglu", event_dropout=0.9).eval(), content_vectors, histories)
        assert torch.equal(off, still)


def test_a_window_forgets_what_lies_before_it(content_vectors, make_histories):
    """In one block with a window of 3 the last state depends on the listener and the last three events alone."""
    tower, histories = make_user_tower("swiglu", window=3, num_layers=1), make_histories([8])

    def last(histories):
        return tower(
            content_vectors[histories.content_index],
            histories.action, histories.elapsed, histories.played, histories.context, histories.user_codes,
        )[0, -1]  # fmt: skip

    for place in range(8):
        changed = histories.action.clone()
        changed[0, place] = (changed[0, place] + 1) % NUM_ACTIONS
        difference = (last(replace(histories, action=changed)) - last(histories)).abs().max()
        assert (difference > 1e-5) == (place >= 5), place
    other = replace(histories, user_codes=(histories.user_codes + 1) % COUNTRIES)
    assert (last(other) - last(histories)).abs().max() > 1e-5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"window": 0}, "window must be at least 1 event"),
        ({"event_dropout": 1.0}, "event_dropout must lie in 0 to 1"),
        ({"dropout": 1.0}, "dropout must lie in 0 to 1"),
    ],
)
def test_what_will_not_do_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_user_tower("swiglu", **settings)


@pytest.mark.gpu
@pytest.mark.parametrize("parts", PARTS)
def test_packed_on_cuda_gives_the_padded_states_and_waits_for_nothing(
    two_tower, content_vectors, make_histories, parts
):
    """The towers run in bf16; torch raises where a step would have to wait for the device."""
    two_tower.user_tower = make_user_tower(parts)
    two_tower.cuda()
    histories = make_histories((70, 3, 0, 25))
    histories = replace(histories, packing=Packing.of(histories.padding_mask))
    on_device, vectors = histories.to("cuda"), content_vectors.cuda().requires_grad_()
    positions = torch.tensor([0, 70, 74, 142, 213, 238], device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert two_tower.user_tower.packs(vectors.device)
        padded = two_tower.encode_states(replace(on_device, packing=None), vectors, positions)
        two_tower.encode_states(on_device, vectors, positions).sum().backward()  # loads what is loaded once
        torch.cuda.set_sync_debug_mode("error")
        try:
            packed = two_tower.encode_states(on_device, vectors, positions)
            packed.float().square().sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(packed.float(), padded.float(), atol=0.02, rtol=0)
