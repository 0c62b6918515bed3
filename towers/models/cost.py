"""What a network costs: parameters, and multiply-adds of its audio encoder."""

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from towers.features.sounds import Sounds
from towers.models.audio.encoder import AudioEncoder
from towers.models.two_tower import TwoTower


def description(two_tower: TwoTower, sounds: Sounds | None, crop_frames: int) -> str:
    """One line for people.

    Args:
        two_tower: the network.
        sounds: what its audio encoder reads; null without sound.
        crop_frames: frames of a sound that a step encodes.
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
    """Numbers that are trained."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


@torch.no_grad()
def multiply_adds(encoder: AudioEncoder, records: Tensor) -> int:
    """Cost of encoding `records` `[sounds, features, frames]` outside of training, in matrix products and convolutions.

    torch counts two operations for each; it knows those of attention where that is not fused on a CPU.
    """
    was_training = encoder.training
    encoder.eval()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        encoder(records)
    encoder.train(was_training)
    return counter.get_total_flops() // 2
