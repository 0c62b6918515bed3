"""The user tower as ONNX: history of content vectors and event codes to a vector, so that a fresh listener needs no
retrain and serving no torch."""

import contextlib
import io
import logging
import warnings
from pathlib import Path

import onnx
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from towers.models.user_tower import UserTower
from towers.retrieval.encoders import ONNX_INPUTS

OPSET = 20


class _LastState(nn.Module):
    """The user tower's state after the last event of each history."""

    def __init__(self, user_tower: UserTower):
        super().__init__()
        self._user_tower = user_tower

    def forward(
        self,
        content_vectors: Float[Tensor, "batch length content_dim"],
        action: Int[Tensor, "batch length"],
        elapsed: Int[Tensor, "batch length"],
        played: Int[Tensor, "batch length"],
        context: Int[Tensor, "batch length"],
        user_codes: Int[Tensor, "batch columns"],
        lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch dim"]:
        states = self._user_tower(content_vectors, action, elapsed, played, context, user_codes)
        place = lengths[:, None, None].expand(-1, 1, states.shape[2])
        return states.gather(1, place).squeeze(1)


def export_user_tower(user_tower: UserTower, content_dim: int, num_columns: int, path: Path, space_id: str) -> None:
    """Writes the tower with dynamic batch and length; `space_id` stands in the file's metadata.

    Args:
        user_tower: in evaluation mode.
        content_dim: of the content vectors.
        num_columns: listener columns.
        path: of the file.
        space_id: of the vectors that the tower reads and makes.
    """
    model = _LastState(user_tower).cpu().eval()
    batch, length = 2, 3
    codes = torch.zeros(batch, length, dtype=torch.long)
    example = (
        torch.zeros(batch, length, content_dim),
        codes, codes.clone(), codes.clone(), codes.clone(),
        torch.zeros(batch, num_columns, dtype=torch.long),
        torch.tensor([length, 1]),
    )  # fmt: skip
    batches, lengths = torch.export.Dim("batch", min=1), torch.export.Dim("length", min=1)
    per_event = {0: batches, 1: lengths}
    shapes = (per_event, per_event, per_event, per_event, per_event, {0: batches}, {0: batches})
    # The exporter reports its stages on standard output and warns of its own deprecations.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model, example, input_names=list(ONNX_INPUTS), output_names=["vector"], opset_version=OPSET,
            dynamic_shapes=shapes, dynamo=True, verbose=False,
        )  # fmt: skip
    assert program is not None
    exported = program.model_proto
    onnx.helper.set_model_props(exported, {"space_id": space_id, "opset": str(OPSET)})
    onnx.checker.check_model(exported)
    onnx.save(exported, path)
