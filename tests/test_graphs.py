"""Tests that export share traced graphs; each network puts its own weights into them, and writes its own files."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.graphs import traced_once
from tests.parity.test_onnx_content_tower import CODES, DIM, FEATURES, STATISTICS, exported, in_torch, network
from towers.models.audio.encoder import NoAudioEncoder

pytestmark = pytest.mark.unhooked


def test_networks_of_other_weights_and_other_contents_share_a_graph(tmp_path: Path) -> None:
    (tmp_path / "graphs").mkdir()
    writes = np.random.default_rng(0).normal(size=(5, DIM)).astype(np.float32)
    with traced_once(tmp_path / "graphs"):
        for num_contents in (3, 7):
            two_tower = network(NoAudioEncoder(STATISTICS), num_contents=num_contents, seed=num_contents)
            encoder = exported(two_tower, FEATURES, tmp_path, writes=writes)
            expected = in_torch(two_tower, [None] * 3, CODES) @ writes.T
            expected /= np.linalg.norm(expected, axis=1, keepdims=True)
            np.testing.assert_allclose(encoder.encode_batch([{}] * 3, CODES), expected, atol=1e-5)
        assert len([*(tmp_path / "graphs").iterdir()]) == 1
