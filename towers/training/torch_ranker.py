"""A ranker by inner products on a torch device: `VectorRanker` of `evaluation.ranking`, for a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from towers.evaluation.ranking.rankers import Ranked, Ranking
from towers.evaluation.ranking.vectors import Candidates, check_products
from towers.evaluation.task import EvaluationTask

BLOCK_SIZE = 1024
"""Listeners ranked at a time."""

TILE_SIZE = 1 << 16
"""Candidates scored at a time: 256 MB of scores on the device, and as much again for the search of the best."""


class TorchRanker:
    """Ranks by the inner product of listener and content, tile by tile like `VectorRanker`, on `device`.

    Contents whose vectors are all zeros are in no list, as there. The vectors of all candidates are kept on the device.
    The host does not wait for it until a block's lists are copied back.

    Each list has the highest scores, and equal ones in the order of content rows. Which of several contents tied for
    the last places is in the list is torch's choice (`torch.topk` has no rule for ties); `VectorRanker` takes the
    first.

    Args:
        task: listeners, histories and contents to rank.
        name: name in reports.
        user_vectors: `[users of the task, dim]`.
        content_vectors: `[contents, dim]`; all zeros for contents that may be in no list.
        device: device of the computation.
        block_size: listeners ranked at a time.
        tile_size: candidates scored at a time.
        matmul_precision: `highest` computes in float32; `high` and `medium` are faster and coarser where the device
            has such units (TF32, bfloat16), see `torch.set_float32_matmul_precision`.

    Raises:
        ValueError: vectors, or their products, are not finite.
    """

    def __init__(
        self,
        task: EvaluationTask,
        name: str,
        user_vectors: Float[np.ndarray, "users dim"],
        content_vectors: Float[np.ndarray, "contents dim"],
        *,
        device: torch.device,
        block_size: int = BLOCK_SIZE,
        tile_size: int = TILE_SIZE,
        matmul_precision: Literal["highest", "high", "medium"] = "highest",
    ):
        self.name = name
        self.block_size = block_size
        self._tile_size = tile_size
        self._device = device
        self._matmul_precision = matmul_precision
        self._histories = task.histories
        self._candidates = Candidates.of(task, content_vectors)
        self._user_vectors = np.asarray(user_vectors, dtype=np.float32)
        contents = np.asarray(content_vectors[self._candidates.rows[:-1]], dtype=np.float32)
        check_products(name, self._user_vectors, contents)
        self._content_vectors = torch.from_numpy(contents).to(device)

    @torch.inference_mode()
    def rank(self, positions: Int[np.ndarray, " users"], k: int) -> dict[Ranking, Ranked]:
        """See `rankers.Ranker`."""
        candidates = self._candidates
        users, columns = candidates.heard(self._histories.take(positions))
        on_device = [self._to_device(array) for array in (users, columns)]
        vectors = self._to_device(self._user_vectors[positions])
        nothing = torch.full((), -torch.inf, device=self._device)
        warm = cold = _Best.none(len(positions), min(k, candidates.num_contents), self._device)
        heard = [nothing.new_zeros(0)]
        with _float32_matmul_precision(self._matmul_precision):
            for start, stop in candidates.tiles(self._tile_size):
                scores = vectors @ self._content_vectors[start:stop].T
                first, last = np.searchsorted(columns, [start, stop])
                pairs = on_device[0][first:last], on_device[1][first:last] - start
                heard.append(scores[pairs])
                scores.index_put_(pairs, nothing)
                if start < candidates.num_warm:
                    warm = warm.with_tile(scores, start)
                else:
                    cold = cold.with_tile(scores, start)
        return candidates.lists(
            warm=warm.ranked(candidates),
            cold=cold.ranked(candidates),
            heard_users=users,
            heard_columns=columns,
            heard_scores=torch.cat(heard).cpu().numpy(),
        )

    def _to_device(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._device)


class _Best:
    """The best columns of each listener so far, unordered; padded with -1 and minus infinity."""

    def __init__(self, columns: Int[Tensor, "users ranks"], scores: Float[Tensor, "users ranks"]):
        self._columns = columns
        self._scores = scores

    @classmethod
    def none(cls, users: int, k: int, device: torch.device) -> "_Best":
        columns = torch.full((users, k), -1, device=device)
        return cls(columns, torch.full((users, k), -torch.inf, device=device))

    def with_tile(self, scores: Float[Tensor, "users tile"], start: int) -> "_Best":
        k = self._scores.shape[1]
        of_tile = scores.topk(min(k, scores.shape[1]), dim=1, sorted=False)
        columns = torch.cat([self._columns, of_tile.indices + start], dim=1)
        best = torch.cat([self._scores, of_tile.values], dim=1).topk(k, dim=1, sorted=False)
        return _Best(columns.gather(1, best.indices), best.values)

    def ranked(self, candidates: Candidates) -> Ranked:
        scores, columns = self._scores.cpu().numpy(), self._columns.cpu().numpy()
        order = np.lexsort((columns, -scores), axis=-1)
        scores, columns = (np.take_along_axis(array, order, axis=1) for array in (scores, columns))
        return candidates.ranked(np.where(scores > -np.inf, columns, -1), scores)


@contextmanager
def _float32_matmul_precision(precision: str) -> Iterator[None]:
    """Sets the precision for a block, as training may have allowed a lower one for the process; restores it after."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
