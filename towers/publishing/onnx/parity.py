"""Whether the exported towers give what torch gives, on real inputs and by the path that serving takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch.nn.functional import normalize

from towers.batch import ContentBatch
from towers.data.audio.log_mel import LogMel, log_mel_of, record_from
from towers.data.store import Store
from towers.errors import UserError
from towers.features.settings import SpectrogramSettings
from towers.features.sound import UnusableSound
from towers.features.sound_folder import SoundFolder
from towers.features.sounds import Sounds
from towers.models.audio.encoder import AudioEncoder
from towers.models.audio.joined import JoinedAudioEncoder
from towers.models.two_tower import TwoTower
from towers.retrieval.content_encoder import AUDIO_VECTOR, WAVEFORM, ContentEncoder, Heard
from towers.retrieval.encoders import EVENT_COLUMNS, Events, UserEncoder
from towers.retrieval.raw_contents import codes_of
from towers.retrieval.sound import crops_of, laid_out

LISTENERS, CONTENTS = 32, 16


def check_parity(towers: Mapping[str, dict[str, Any]], max_difference: float) -> None:
    """Whether exported towers give what torch gives, but for what rounding alone explains.

    Args:
        towers: by name, what `user_parity` and `content_parity` found; without `difference` nothing is held against.
        max_difference: of any component of a unit vector.

    Raises:
        UserError: one does not.
    """
    for name, parity in towers.items():
        allowed = max(max_difference, parity.get("by_rounding", 0.0))
        if not parity.get("difference", 0.0) <= allowed:  # not a number is no parity either
            raise UserError(
                f"{name} differs from torch by {parity['difference']:.2e}, over max_parity_difference="
                f"{max_difference:g} and what rounding explains; nothing is exported: raise the limit if that is near "
                "enough for you"
            )


def listeners_compared(store: Store, at_most: int = LISTENERS) -> Int[np.ndarray, " rows"]:
    """Some listeners, spread over the store."""
    return _spread(np.arange(store.histories.num_users), at_most)


def user_parity(
    encoder: UserEncoder,
    store: Store,
    rows: Int[np.ndarray, " rows"],
    expected: Float[np.ndarray, "rows dim"],
) -> dict[str, Any]:
    """How far the exported user tower is from torch, through the serving side's features.

    Args:
        encoder: of the exported tower.
        store: gives the histories, to their ends.
        rows: of the listeners.
        expected: their vectors as torch has them, as they are exported.

    Returns:
        `difference`, the greatest of any component; `inputs`, in words.
    """
    found = [encoder.encode(events_of(store, row), store.user_codes[row]) for row in rows.tolist()]
    return {"difference": _difference(found, expected), "inputs": f"{len(rows)} listeners"}


def events_of(store: Store, user_row: int) -> Events:
    """What a listener did, up to the end of the data."""
    part = slice(store.histories.offsets[user_row], store.histories.offsets[user_row + 1])
    return Events(**{name: np.asarray(getattr(store.histories, name)[part]) for name in EVENT_COLUMNS})


def content_parity(
    encoder: ContentEncoder,
    two_tower: TwoTower,
    store: Store,
    sounds: Sounds | None,
    project: Callable[[Float[np.ndarray, "rows model_dim"]], Float[np.ndarray, "rows dim"]],
    max_difference: float,
) -> dict[str, Any]:
    """How far the exported content tower is from torch, on contents with both sound and metadata, and without either.

    Sound is decoded from the data's own files where these are still there; torch hears the same samples. What torch
    makes of the store's records, which `prepare` resampled by itself, is compared as well.

    Args:
        encoder: of the exported tower.
        two_tower: in evaluation mode.
        store: that it was trained on.
        sounds: what its audio encoder reads; null without sound.
        project: from the model's vectors to those that are exported.
        max_difference: above which it is measured what rounding alone explains.

    Returns:
        `difference`, the greatest of any component; `inputs`, in words; `least_cosine_to_prepared` of the vectors
        of what serving decodes to those of the store's records, where there is such sound; and, where the difference is
        above `max_difference`, `by_rounding`: how far apart torch's own vectors may be by the rounding of log-mels.
    """
    has_sound = np.ones(len(store.content_ids), dtype=bool) if sounds is None else sounds.rows >= 0
    hearing = _Hearing(store=store, sounds=sounds, rows=_spread(np.flatnonzero(has_sound), CONTENTS).tolist())
    heard = two_tower.audio_encoder.heard_through(hearing)
    examples = list(heard.of.values())
    rows = list(heard.of) or _spread(np.arange(len(store.content_ids)), CONTENTS).tolist()
    served_codes, codes = _codes(store, rows)
    served: list[Heard] = [each.served for each in examples] or [{}] * len(rows)
    records = [each.record for each in examples] or [None] * len(rows)
    nothing, silence, unheard = [{}] * len(rows), [{}] * len(rows), [None] * len(rows)
    differences = []
    for sound, known, record, expected_codes in (
        (served, served_codes, records, codes),
        (silence, served_codes, unheard, codes),
        (served, nothing, records, nothing),
        (silence[:1], nothing[:1], unheard[:1], nothing[:1]),
    ):
        found = [encoder.encode(*each) for each in zip(sound, known, strict=True)]
        differences.append(_difference(found, project(_in_torch(two_tower, record, expected_codes))))
    result = {"difference": float(np.max(differences)), "inputs": f"{len(rows)} {heard.words}"}
    if result["difference"] > max_difference:
        bounds = [(each.bounds(), known) for each, known in zip(examples, codes, strict=False) if each.bounds]
        moved = [
            _difference([project(_in_torch(two_tower, [low], known))[0]], project(_in_torch(two_tower, [high], known)))
            for (low, high), expected_codes in bounds
            for known in ([expected_codes], [{}])
        ]
        result["by_rounding"] = max(moved, default=0.0)
    prepared = [each.prepared for each in examples]
    if any(record is not None for record in prepared):
        found = np.stack([encoder.encode(*each) for each in zip(served, served_codes, strict=True)])
        cosines = (found * project(_in_torch(two_tower, prepared, codes))).sum(axis=1)
        result["least_cosine_to_prepared"] = float(cosines.min())
    return result


Record = Shaped[np.ndarray, "features frames"]
Bounds = tuple[Record, Record]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Example:
    """What is heard of one content, as serving reads it, as torch does, and the record that the store has of it.

    Where there is a waveform, also what gives its record rounded either way.
    """

    served: Heard
    record: Record
    prepared: Record | None = None
    bounds: Callable[[], Bounds] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Examples:
    """By content row, and what is compared in words that follow a number."""

    of: Mapping[int, _Example]
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hearing:
    """Finds sounds that an encoder can read.

    Args:
        store: that it was trained on.
        sounds: what it reads; null without sound.
        rows: of the contents whose sounds are looked for.
    """

    store: Store
    sounds: Sounds | None
    rows: Sequence[int]

    def of_spectrograms(self, encoder: AudioEncoder) -> _Examples:
        """The data's own files, decoded as serving does it."""
        root = self.store.manifest.get("root")
        if self.sounds is None or not (self.sounds.rows >= 0).any():
            return _Examples(of={}, words="contents without sound: the data has none")
        if root is None or not Path(root).exists():
            return _Examples(of={}, words="contents without sound: the data's folder is not there")
        settings = self.store.features.spectrogram
        log_mel, audio, examples = LogMel(settings), self.store.contents["audio"], {}
        folder = SoundFolder(Path(root))
        for row in self._heard_rows(self.sounds):
            try:
                crops = crops_of(folder.find(audio[row].as_py()), settings)
                record = record_from([torch.from_numpy(crop) for crop in crops], log_mel, settings)
            except UnusableSound:  # the file has gone or changed since
                continue
            examples[row] = _Example(
                served={WAVEFORM: laid_out(crops, settings)},
                record=record,
                prepared=np.asarray(self.sounds.records[self.sounds.rows[row]]),
                bounds=partial(_rounded_either_way, crops, settings),
            )
        return _Examples(of=examples, words="files" if examples else "contents without sound: no file can be used")

    def of_vectors(self, encoder: AudioEncoder) -> _Examples:
        """The vectors that it brings along."""
        assert self.sounds is not None
        examples = {}
        for row in self._heard_rows(self.sounds):
            record = np.asarray(self.sounds.records[self.sounds.rows[row]], np.float32)
            examples[row] = _Example(served={AUDIO_VECTOR: record[:, 0]}, record=record)
        return _Examples(of=examples, words="vectors of sounds")

    def of_nothing(self, encoder: AudioEncoder) -> _Examples:
        """None."""
        return _Examples(of={}, words="contents; the model does without sound")

    def of_several(self, encoder: AudioEncoder, parts: Sequence[AudioEncoder]) -> _Examples:
        """Gives of each content the inputs of all parts that have something of it."""
        assert isinstance(encoder, JoinedAudioEncoder)
        heard = [(part, part.hears(self.store.content_ids, self.store.sounds)) for part in parts]
        found = [part.heard_through(replace(self, sounds=sounds)) for part, sounds in heard]
        rows = [row for row in self.rows if any(row in examples.of for examples in found)]
        joined = {row: _joined(encoder, [examples.of.get(row) for examples in found]) for row in rows}
        return _Examples(of=joined, words=" and ".join(dict.fromkeys(examples.words for examples in found)))

    def _heard_rows(self, sounds: Sounds) -> list[int]:
        return [row for row in self.rows if sounds.rows[row] >= 0]


def _joined(encoder: JoinedAudioEncoder, parts: Sequence[_Example | None]) -> _Example:
    """One example of those of each part; null where a part hears nothing of the content."""

    def record(of: Callable[[_Example], Record]) -> Record:
        return encoder.record_of([None if part is None else of(part) for part in parts])

    def bounds() -> Bounds:
        found = [part and (part.bounds() if part.bounds else (part.record, part.record)) for part in parts]
        low, high = ([each[side] if each else None for each in found] for side in (0, 1))
        return encoder.record_of(low), encoder.record_of(high)

    there = [part for part in parts if part is not None]
    return _Example(
        served={name: sound for part in there for name, sound in part.served.items()},
        record=record(lambda part: part.record),
        prepared=record(lambda part: part.record if part.prepared is None else part.prepared)
        if any(part.prepared is not None for part in there)
        else None,
        bounds=bounds if any(part.bounds for part in there) else None,
    )


def _rounded_either_way(
    crops: Sequence[Float[np.ndarray, " _"]], settings: SpectrogramSettings
) -> tuple[Float[np.ndarray, "n_mels frames"], Float[np.ndarray, "n_mels frames"]]:
    """A sound's record, rounded to float16 from the least and from the greatest that its log-mel may be in float32.

    Far below a loud tone, float32 leaves three digits of a band's power. A tone that stands still has the same power
    in all frames: where that lies between two numbers of float16, all of them are rounded alike, this way or that.
    """
    waveforms = [torch.from_numpy(crop) for crop in crops]
    exact = log_mel_of([crop.double() for crop in waveforms], LogMel(settings).double(), settings)
    error = 2 * (log_mel_of(waveforms, LogMel(settings), settings) - exact).abs().amax(dim=-1, keepdim=True)
    return (exact - error).half().float().numpy(), (exact + error).half().float().numpy()


def _codes(store: Store, rows: Sequence[int]) -> tuple[list[dict[str, list[int]]], list[dict[str, list[int]]]]:
    """Of contents, as serving finds them from raw metadata, and as the store has them."""
    vocabularies = {part: store.vocabulary(part) for part in store.features.content_parts}
    served = [codes_of(vocabularies, metadata) for metadata in store.contents.take(rows).to_pylist()]
    return served, [{part: codes[row].tolist() for part, codes in store.content_codes.items()} for row in rows]


@torch.inference_mode()
def _in_torch(
    two_tower: TwoTower,
    records: Sequence[Shaped[np.ndarray, "features frames"] | None],
    codes: Sequence[Mapping[str, Sequence[int]]],
) -> Float[np.ndarray, "rows model_dim"]:
    """Unit vectors without ids, each encoded alone, null records without sound."""
    vectors = []
    for record, known in zip(records, codes, strict=True):
        audio = torch.zeros(1, two_tower.audio_encoder.dim)
        if record is not None:
            audio = two_tower.audio_encoder(torch.from_numpy(np.asarray(record, np.float32))[None])
        parts = {part: torch.tensor([[*known.get(part, ()), 0]]) for part in two_tower.content_tower.parts}
        contents = ContentBatch(
            rows=torch.zeros(1, dtype=torch.long),
            parts=parts,
            audio=audio,
            has_audio=torch.tensor([record is not None]),
        )
        vectors.append(normalize(two_tower.content_tower.without_id(contents), dim=-1))
    return torch.cat(vectors).numpy()


def _difference(found: Sequence[np.ndarray], expected: Float[np.ndarray, "rows dim"]) -> float:
    return float(np.abs(np.stack(found) - expected).max())


def _spread(rows: Int[np.ndarray, " rows"], count: int) -> Int[np.ndarray, " spread"]:
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64))]
