"""The settings of training batches and validation histories, as `configs/datamodule/` has them."""

from dataclasses import dataclass

from towers.errors import UserError, require_counts
from towers.features.settings import SpectrogramSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class DataModule:
    """Settings: how histories are cut into windows, targets weighted and sounds cropped. `Loaders` follows them.

    Args:
        max_length: of a history or a window, in events.
        max_tokens: padded tokens of a step (listeners times length), over all ranks and micro-batches.
        repeat_weight: weight of a target that the listener has chosen before; a first choice has 1.
        lookahead: a target is predicted from a state at most so many events before it, drawn at random. 1 asks for
            what comes next; more asks for what comes at some time, as a list for the next weeks has to (dense
            all-action loss, Pancha et al. 2022, "PinnerFormer").
        num_fresh_sounds: sounds encoded anew, with gradient, in a step, over all ranks; 0: the audio encoder is not
            trained.
        crop_s: of a sound in training, in seconds.
        num_workers: processes that build batches.

    Raises:
        ValueError: a length, a budget or a lookahead below 1, another number below 0.
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
        """A line where a crop is to be longer than what is kept of a sound."""
        if self.crop_frames(spectrogram) <= spectrogram.num_frames:
            return []
        return [
            f"datamodule.crop_s={self.crop_s} is more than features.spectrogram.record_s={spectrogram.record_s}, which "
            "is all that is kept of a sound: training hears whole records and no crops"
        ]

    def crop_frames(self, spectrogram: SpectrogramSettings) -> int:
        """Frames of a sound's crop in training.

        Raises:
            UserError: a crop has less than a frame.
        """
        frames = round(self.crop_s * spectrogram.sample_rate / spectrogram.hop_length)
        if frames < 1:
            raise UserError(
                f"datamodule: crop_s={self.crop_s} is shorter than a frame of {spectrogram.hop_length} samples"
            )
        return frames
