"""Staleness of the table of audio vectors against the encoder that made them."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from towers.training.processes import Processes


class Staleness:
    """Drift of audio vectors between two encodings: 1 - cosine, from 0 (the same direction) to 2.

    A vector of the table comes from the last refresh, of the whole sound, or from a later step, of a crop and with
    dropout; training has read both, and both count. For a refresh three numbers are kept on the device, for any number
    of sounds, and nothing waits for the device before `figures`.

    Relations: feature drift of embeddings kept from earlier steps (Wang et al. 2020, "Cross-Batch Memory for Embedding
    Learning", arXiv 1912.06798) is the distance of such vectors on a sample; here it is over all sounds.

    Args:
        device: device of the vectors.
    """

    def __init__(self, device: torch.device):
        self._sum = torch.zeros((), dtype=torch.float64, device=device)
        self._largest = torch.zeros((), device=device)
        self._count = 0

    @torch.no_grad()
    def add(self, before: Float[Tensor, "sounds audio_dim"], after: Float[Tensor, "sounds audio_dim"]) -> None:
        """Adds the drift of some sounds."""
        if not len(after):
            return
        # Half the squared distance of unit vectors is 1 - cosine, without the rounding of a difference near 0; two
        # vectors of zeros have not drifted.
        difference = normalize(before.float(), dim=-1) - normalize(after.float(), dim=-1)
        drift = difference.square().sum(dim=-1) / 2
        self._sum += drift.sum(dtype=torch.float64)
        self._largest = torch.maximum(self._largest, drift.max())
        self._count += len(after)

    def together(self, processes: Processes, count: int) -> "Staleness":
        """Sums over ranks, each of which has added its own sounds.

        Args:
            processes: processes of the training; all must call.
            count: number of sounds of all ranks.
        """
        self._sum, self._largest = processes.sum_(self._sum), processes.largest(self._largest)
        self._count = count
        return self

    def figures(self) -> dict[str, float]:
        """Returns mean and largest drift by the names under which they are logged; empty without sounds."""
        if not self._count:
            return {}
        mean, largest = torch.stack([self._sum / self._count, self._largest.double()]).tolist()
        return {"audio/staleness": mean, "audio/staleness_max": largest}
