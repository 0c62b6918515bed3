"""How far the vectors of the audio memory lie behind the encoder that made them."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from towers.training.processes import Processes


class Staleness:
    """Drift of vectors from what they were to what they are: 1 - cosine, from 0 (the same direction) to 2.

    A vector of the table was made at the last refresh, from the whole sound, or since then in a step, from a crop and
    with dropout; both are what training has read, and both count. Of a refresh it keeps three numbers on the device,
    however many sounds there are, and nothing waits for the device before `figures`.

    Relations: feature drift of embeddings kept from earlier steps (Wang et al. 2020, "Cross-Batch Memory for Embedding
    Learning", arXiv 1912.06798) is there the distance of such vectors, on a sample; here it is every sound's.

    Args:
        device: of the vectors.
    """

    def __init__(self, device: torch.device):
        self._sum = torch.zeros((), dtype=torch.float64, device=device)
        self._largest = torch.zeros((), device=device)
        self._count = 0

    @torch.no_grad()
    def add(self, before: Float[Tensor, "sounds audio_dim"], after: Float[Tensor, "sounds audio_dim"]) -> None:
        """Takes note of some sounds."""
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
        """Sums over ranks, where each has taken note of its own sounds.

        Args:
            processes: who all call.
            count: of the sounds of all.
        """
        self._sum, self._largest = processes.sum_(self._sum), processes.largest(self._largest)
        self._count = count
        return self

    def figures(self) -> dict[str, float]:
        """Mean and largest drift by the name under which they are logged; empty where there was no sound."""
        if not self._count:
            return {}
        mean, largest = torch.stack([self._sum / self._count, self._largest.double()]).tolist()
        return {"audio/staleness": mean, "audio/staleness_max": largest}
