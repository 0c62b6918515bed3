"""Size and cost of a network: number of parameters, and multiply-adds of its audio encoder."""

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from towers.features.sounds import Sounds
from towers.models.audio.encoder import AudioEncoder
from towers.models.two_tower import TwoTower


def description(two_tower: TwoTower, sounds: Sounds | None, crop_frames: int) -> str:
    """Returns a line that describes a network's size and cost.

    Args:
        two_tower: network.
        sounds: inputs of its audio encoder; null without sound.
        crop_frames: number of frames of a sound that a step encodes.
    """
    encoder = two_tower.audio_encoder
    total, own = parameters(two_tower), parameters(encoder)
    line = f"{total:,} parameters, {own:,} of them in the audio encoder"
    if sounds is None or not own:
        return line
    frames = min(crop_frames, sounds.records.shape[2])
    record = torch.zeros((1, sounds.records.shape[1], frames), device=next(encoder.parameters()).device)
    millions = multiply_adds(encoder, record) / 1e6
    return f"{line}, which takes {millions:,.1f} million multiply-adds for a crop of {frames:,} frames"


def parameters(module: nn.Module) -> int:
    """Returns the number of trained parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


@torch.no_grad()
def multiply_adds(encoder: AudioEncoder, records: Tensor) -> int:
    """Returns the multiply-adds of matrix products and convolutions for encoding `records` outside of training.

    `records` are `[sounds, features, frames]`. Torch counts two operations for each multiply-add, and counts those of
    attention only if it is not fused.
    """
    was_training = encoder.training
    encoder.eval()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        encoder(records)
    encoder.train(was_training)
    return counter.get_total_flops() // 2
