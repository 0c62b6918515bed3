"""The settings of training batches and validation histories, as `configs/datamodule/` has them."""

from dataclasses import dataclass

from towers.errors import UserError, require_counts
from towers.features.settings import SpectrogramSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class DataModule:
    """Settings of training batches: how `Loaders` cuts histories into windows, weights targets and crops sounds.

    Args:
        max_length: longest history or window, in events.
        max_tokens: greatest number of padded tokens in a step (windows times longest window), over all ranks and
            micro-batches.
        repeat_weight: weight of a target that the listener has chosen before; a first choice has 1.
        lookahead: greatest distance, in events, from a target back to the state that predicts it; the state is drawn at
            random. 1 predicts the next event; more predicts events of the time to come, which suits a list for the
            next weeks (dense all-action loss, Pancha et al. 2022, "PinnerFormer").
        num_fresh_sounds: number of sounds that a step encodes anew, with gradient, over all ranks; 0: the audio encoder
            is not trained.
        crop_s: length of a sound's random crop in training, in seconds.
        num_workers: processes that build batches.

    Raises:
        ValueError: `max_length`, `max_tokens` or `lookahead` is below 1, or another number is below 0.
    """

    max_length: int
    max_tokens: int
    repeat_weight: float
    lookahead: int
    num_fresh_sounds: int
    crop_s: float
    num_workers: int

    def __post_init__(self) -> None:
        require_counts(max_length=self.max_length, max_tokens=self.max_tokens, lookahead=self.lookahead)
        for name in ("repeat_weight", "num_fresh_sounds", "num_workers"):
            number = getattr(self, name)
            if not number >= 0:
                raise ValueError(f"{name} must be 0 or more, got {number}")

    def remarks(self, spectrogram: SpectrogramSettings) -> list[str]:
        """Returns a line if crops are longer than the records of sounds."""
        if self.crop_frames(spectrogram) <= spectrogram.num_frames:
            return []
        return [
            f"datamodule.crop_s={self.crop_s} is more than features.spectrogram.record_s={spectrogram.record_s}, which "
            "is all that is kept of a sound: training hears whole records and no crops"
        ]

    def crop_frames(self, spectrogram: SpectrogramSettings) -> int:
        """Returns the number of frames in a sound's crop.

        Raises:
            UserError: a crop is shorter than a frame.
        """
        frames = round(self.crop_s * spectrogram.sample_rate / spectrogram.hop_length)
        if frames < 1:
            raise UserError(
                f"datamodule: crop_s={self.crop_s} is shorter than a frame of {spectrogram.hop_length} samples"
            )
        return frames
