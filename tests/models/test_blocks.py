"""Common properties of all blocks, and their differences."""

from functools import partial

import pytest
import torch
from torch.nn.functional import layer_norm

from towers.models.attention import Attention
from towers.models.blocks import LiGRBlock, SASRecBlock, SelfAttention, SwiGLU, SwiGLUBlock

BLOCKS = {
    "swiglu": partial(SwiGLUBlock, expansion=2),
    "ligr": partial(LiGRBlock, expansion=2),
    "sasrec": partial(SASRecBlock, expansion=1, activation="relu"),
    "sasrec_gelu": partial(SASRecBlock, expansion=3, activation="gelu"),
}
ATTEND = Attention(rotation=None, window=None)
DIM, TOKENS = 8, 6
EXACT = {"atol": 1e-12, "rtol": 0}


def make(name, dropout=0.0):
    torch.manual_seed(0)
    return BLOCKS[name](dim=DIM, num_heads=2, dropout=dropout).double()


def tokens():
    return torch.randn(3, TOKENS, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def normed(x):
    return layer_norm(x, (DIM,))


@pytest.mark.parametrize("name", BLOCKS)
class TestAll:
    def test_no_token_sees_a_later_one(self, name):
        block, x = make(name), tokens()
        changed = x.clone()
        changed[:, 3, 0] += 1
        before, after = block(x, ATTEND), block(changed, ATTEND)
        torch.testing.assert_close(after[:, :3], before[:, :3], **EXACT)
        assert ((after - before)[:, 3:].abs().amax(dim=-1) > 1e-6).all()

    def test_every_weight_gets_a_gradient(self, name):
        block = make(name)
        block(tokens(), ATTEND).square().sum().backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in block.parameters())

    def test_it_adds_to_its_tokens(self, name):
        """A block whose last matrices are zero changes nothing, as its output is added."""
        block = make(name)
        for part in ("_attention._out.weight", "_feed_forward._out.weight", "_feed_forward_out.weight"):
            if part in dict(block.named_parameters()):
                block.get_parameter(part).data.zero_()
        if name.startswith("sasrec"):
            block.get_parameter("_feed_forward_out.bias").data.zero_()
        assert torch.equal(block(tokens(), ATTEND), tokens())

    def test_dropout_in_training_alone(self, name):
        block, x = make(name, dropout=0.5), tokens()
        assert not torch.equal(block(x, ATTEND), block(x, ATTEND))
        assert torch.equal(block.eval()(x, ATTEND), make(name)(x, ATTEND))

    def test_heads_have_to_fit(self, name):
        with pytest.raises(ValueError, match="dim 8 must be a multiple of num_heads 3"):
            BLOCKS[name](dim=DIM, num_heads=3, dropout=0.0)

    def test_a_width_of_nothing_is_refused(self, name):
        with pytest.raises(ValueError, match="expansion must be at least 1"):
            BLOCKS[name](dim=DIM, num_heads=2, dropout=0.0, expansion=0)


def test_attention_of_one_head_is_its_formula():
    attention, x = SelfAttention(DIM, 1).double(), tokens()
    weights = attention.state_dict()
    query, key, value = (x @ weights["_query_key_value.weight"].T).chunk(3, dim=-1)
    scores = query @ key.transpose(1, 2) / DIM**0.5
    scores = scores.masked_fill(torch.ones(TOKENS, TOKENS).triu(1).bool(), -torch.inf)
    torch.testing.assert_close(attention(x, ATTEND), scores.softmax(dim=-1) @ value @ weights["_out.weight"].T, **EXACT)


def test_the_gated_feed_forward_is_its_formula():
    layer, x = SwiGLU(DIM, 2).double(), tokens()
    weights = layer.state_dict()
    gate, value = (x @ weights["_gate_and_value.weight"].T).split(2 * DIM, dim=-1)
    torch.testing.assert_close(layer(x), (gate * gate.sigmoid() * value) @ weights["_out.weight"].T, **EXACT)


def test_the_point_wise_feed_forward_is_its_formula():
    block, x = make("sasrec"), tokens()
    weights = block.state_dict()
    weights["_attention._out.weight"].zero_()
    inner = (normed(x) @ weights["_feed_forward_in.weight"].T + weights["_feed_forward_in.bias"]).clamp(min=0)
    expected = x + inner @ weights["_feed_forward_out.weight"].T + weights["_feed_forward_out.bias"]
    torch.testing.assert_close(block(x, ATTEND), expected, **EXACT)


def test_gates_are_between_nothing_and_everything():
    """With the same weights LiGR with shut gates returns the tokens, and with open gates the block without gates."""
    gated, plain, x = make("ligr"), make("swiglu"), tokens()
    weights = gated.state_dict()
    biases = [weights[f"{layer}_gate.bias"] for layer in ("_attention", "_feed_forward")]
    plain.load_state_dict({name: value for name, value in weights.items() if "_gate." not in name})
    for bias in biases:
        bias.fill_(100.0)
    torch.testing.assert_close(gated(x, ATTEND), plain(x, ATTEND), **EXACT)
    for bias in biases:
        bias.fill_(-100.0)
    torch.testing.assert_close(gated(x, ATTEND), x, **EXACT)
    for name, value in weights.items():
        if "_gate." in name:
            value.zero_()
    attention, feed_forward = SelfAttention(DIM, 2).double(), SwiGLU(DIM, 2).double()
    for layer, prefix in ((attention, "_attention."), (feed_forward, "_feed_forward.")):
        layer.load_state_dict({name.removeprefix(prefix): weights[name] for name in weights if name.startswith(prefix)})
    half = x + attention(normed(x), ATTEND) / 2
    torch.testing.assert_close(gated(x, ATTEND), half + feed_forward(normed(half)) / 2, **EXACT)
