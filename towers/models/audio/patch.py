"""A small transformer over patches of a spectrogram."""

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from towers.errors import require_counts
from towers.models.audio.augmentation import Augmentation
from towers.models.audio.encoder import SoundStatistics, SpectrogramEncoder, StatisticsPath, network_out
from towers.models.blocks import SwiGLUBlock

GATED = partial(SwiGLUBlock, expansion=2)
LONGEST_WAVE = 10_000.0


class PatchAudioEncoder(SpectrogramEncoder):
    """Transformer over patches of mel bands x frames, with full attention and mean pooling.

    It is a small ViT (Dosovitskiy et al. 2021, arXiv 2010.11929) on spectrograms as in AST (Gong et al. 2021, arXiv
    2104.01778), with patches that do not overlap, mean pooling instead of a class token, and the blocks of the user
    tower, here with bidirectional attention. A patch has a trained vector for its range of bands and sinusoids for its
    time (Vaswani et al. 2017, arXiv 1706.03762, section 3.5), so any length can be encoded. Sound longer than
    `window_frames` is cut into windows of that length, spread evenly, and their vectors are averaged: so all positions
    are known from training, and the cost is linear in the length, not quadratic. A linear path reads the mean and
    deviation of every mel band, as in `ConvAudioEncoder`.

    Args:
        statistics: statistics of the catalogue.
        dim: dimension of the vector.
        width: width of the transformer, even.
        num_layers: number of transformer blocks.
        num_heads: number of attention heads; divides `width`.
        patch_bands: mel bands of a patch.
        patch_frames: frames of a patch.
        window_frames: number of frames encoded at once; crops in training should be as long.
        dropout: dropout probability of patches, of the outputs within blocks, and before the last layer.
        block: constructor of a block, which takes `dim`, `num_heads` and `dropout`.
        augmentation: augmentation of the log-mel in training; null: none.

    Raises:
        ValueError: there is no layer, the width is odd, or a patch or window is empty.
    """

    def __init__(
        self,
        statistics: SoundStatistics,
        dim: int,
        width: int,
        num_layers: int,
        num_heads: int,
        patch_bands: int,
        patch_frames: int,
        window_frames: int,
        dropout: float,
        block: Callable[..., nn.Module] = GATED,
        augmentation: Augmentation | None = None,
    ):
        super().__init__(statistics, augmentation)
        require_counts(dim=dim, num_layers=num_layers, patch_bands=patch_bands, patch_frames=patch_frames)
        if width < 2 or width % 2:
            raise ValueError(f"width must be even, got {width}")
        if window_frames < patch_frames:
            raise ValueError(f"window_frames must be at least patch_frames={patch_frames}, got {window_frames}")
        self.dim = dim
        n_mels = len(statistics.mean)
        self._patch = (patch_bands, patch_frames)
        self._window_frames = window_frames
        self._embed = nn.Conv2d(1, width, self._patch, stride=self._patch)
        self._bands = nn.Parameter(torch.empty(width, -(-n_mels // patch_bands), 1))
        nn.init.normal_(self._bands, std=0.02)
        self._dropout = nn.Dropout(dropout)
        self._blocks = nn.ModuleList(block(dim=width, num_heads=num_heads, dropout=dropout) for _ in range(num_layers))
        self._norm = nn.LayerNorm(width)
        self._network_out = network_out(width, dim, dropout)
        self._statistics_out = StatisticsPath(statistics, dim)

    def forward(self, spectrograms: Float[Tensor, "sounds n_mels frames"]) -> Float[Tensor, "sounds dim"]:
        """Returns vectors that are not normalised; takes any number of frames."""
        normalised = self.normalised(spectrograms)
        windows = self.windows(normalised)
        pooled = self._transform(windows.flatten(0, 1)).unflatten(0, windows.shape[:2])
        return self._network_out(pooled).mean(dim=1) + self._statistics_out(normalised)

    def windows(
        self, normalised: Float[Tensor, "sounds n_mels frames"]
    ) -> Float[Tensor, "sounds windows n_mels window_frames"]:
        """Cuts sound into as few windows as cover it, the first and last at its ends; short sound is one window."""
        frames, width = normalised.shape[2], self._window_frames
        if frames <= width:
            return normalised[:, None]
        count = -(-frames // width)
        starts = [place * (frames - width) // (count - 1) for place in range(count)]
        return torch.stack([normalised[:, :, start : start + width] for start in starts], dim=1)

    def _transform(self, x: Float[Tensor, "windows n_mels frames"]) -> Float[Tensor, "windows width"]:
        """Returns the mean over patches; incomplete patches are padded with the catalogue's mean."""
        bands, frames = self._patch
        x = pad(x, (0, -x.shape[2] % frames, 0, -x.shape[1] % bands))
        patches = self._embed(x[:, None])
        times = _sinusoids(patches.shape[3], patches.shape[1], x.device)
        tokens = self._dropout((patches + self._bands + times[:, None]).flatten(2).transpose(1, 2))
        for block in self._blocks:
            tokens = block(tokens, _attend_both_ways)
        return self._norm(tokens).mean(dim=1)


def _attend_both_ways(
    query_key_value: Float[Tensor, "windows tokens 3 heads head_dim"],
) -> Float[Tensor, "windows tokens heads head_dim"]:
    """Computes full attention within each window, by torch's fused kernels."""
    query, key, value = query_key_value.transpose(1, 3).unbind(2)
    return scaled_dot_product_attention(query, key, value).transpose(1, 2)


def _sinusoids(places: int, width: int, device: torch.device) -> Float[Tensor, "width places"]:
    """Returns sines, then cosines, with wavelengths from 2 pi positions to about `LONGEST_WAVE` times that."""
    steps = torch.arange(0, width, 2, device=device, dtype=torch.float32)
    rates = torch.exp(steps * (-math.log(LONGEST_WAVE) / width))
    angles = rates[:, None] * torch.arange(places, device=device)
    return torch.cat([angles.sin(), angles.cos()])
