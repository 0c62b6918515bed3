"""The exported user tower gives torch's vectors for every block, positions and window, at lengths of any size."""

from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from towers.features.events import NUM_ACTIONS, NUM_ELAPSED_BUCKETS, NUM_PLAYED_BUCKETS
from towers.models.blocks import LiGRBlock, SASRecBlock, SwiGLUBlock
from towers.models.positions import Learned, Rotary
from towers.models.user_tower import UserTower
from towers.publishing.onnx.towers import export_user_tower
from towers.retrieval.encoders import ONNX_INPUTS

pytestmark = pytest.mark.unhooked
DIM, CONTEXTS, COUNTRIES = 12, 3, 4
BLOCKS = (
    partial(SwiGLUBlock, expansion=2), partial(LiGRBlock, expansion=2),
    partial(SASRecBlock, expansion=1, activation="gelu"),
)  # fmt: skip
ROTARY, LEARNED = partial(Rotary, base=10_000.0), partial(Learned, max_length=5)


@pytest.mark.parametrize(
    ("positions", "window"),
    [
        pytest.param(ROTARY, None, id="rotary", marks=pytest.mark.slow),
        pytest.param(ROTARY, 4, id="rotary in a window"),
        pytest.param(LEARNED, None, id="learned", marks=pytest.mark.slow),
    ],
)
def test_onnx_gives_the_state_after_the_last_event(tmp_path: Path, positions, window) -> None:
    """The tower has one layer of every block, as tracing one takes seconds."""
    torch.manual_seed(0)
    blocks = iter(BLOCKS)
    tower = UserTower(
        user_vocabulary_sizes=(COUNTRIES,), num_contexts=CONTEXTS, content_dim=DIM, dim=16, num_layers=len(BLOCKS),
        num_heads=2, dropout=0.1, window=window, block=lambda **sizes: next(blocks)(**sizes), positions=positions,
    ).eval()  # fmt: skip
    export_user_tower(tower, DIM, 1, tmp_path / "tower.onnx", "space")
    session = onnxruntime.InferenceSession(tmp_path / "tower.onnx")
    for lengths in ((1,), (3, 1, 2), (17, 0, 6, 5, 9)):
        length = max(lengths)
        codes = [
            torch.randint(size, (len(lengths), length))
            for size in (NUM_ACTIONS, NUM_ELAPSED_BUCKETS, NUM_PLAYED_BUCKETS, CONTEXTS)
        ]
        inputs = (torch.randn(len(lengths), length, DIM), *codes, torch.randint(COUNTRIES, (len(lengths), 1)))
        with torch.inference_mode():
            expected = tower(*inputs)[torch.arange(len(lengths)), torch.tensor(lengths)]
        arrays = [array.numpy() for array in (*inputs, torch.tensor(lengths))]
        (found,) = session.run(None, dict(zip(ONNX_INPUTS, arrays, strict=True)))
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
