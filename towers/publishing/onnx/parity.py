"""Parity of the exported towers with torch, on real inputs and through the code that serving runs."""

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
    """Checks that exported towers agree with torch up to what rounding explains.

    Args:
        towers: by name, results of `user_parity` and `content_parity`; results without `difference` are not checked.
        max_difference: largest difference of any component of a unit vector.

    Raises:
        UserError: a tower differs by more.
    """
    for name, parity in towers.items():
        allowed = max(max_difference, parity.get("by_rounding", 0.0))
        if not parity.get("difference", 0.0) <= allowed:  # true for NaN, too
            raise UserError(
                f"{name} differs from torch by {parity['difference']:.2e}, over max_parity_difference="
                f"{max_difference:g} and what rounding explains; nothing is exported: raise the limit if this is "
                "acceptable"
            )


def listeners_compared(store: Store, at_most: int = LISTENERS) -> Int[np.ndarray, " rows"]:
    """Returns the rows of some listeners, spread over the store."""
    return _spread(np.arange(store.histories.num_users), at_most)


def user_parity(
    encoder: UserEncoder,
    store: Store,
    rows: Int[np.ndarray, " rows"],
    expected: Float[np.ndarray, "rows dim"],
) -> dict[str, Any]:
    """Measures how far the exported user tower is from torch, through the features of serving.

    Args:
        encoder: encoder with the exported tower.
        store: store with the histories, which are read to their ends.
        rows: rows of the listeners.
        expected: their exported vectors as computed by torch.

    Returns:
        `difference`, the greatest of any component; `inputs`, in words.
    """
    found = [encoder.encode(events_of(store, row), store.user_codes[row]) for row in rows.tolist()]
    return {"difference": _difference(found, expected), "inputs": f"{len(rows)} listeners"}


def events_of(store: Store, user_row: int) -> Events:
    """Returns the events of a listener, up to the end of the data."""
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
    """Measures how far the exported content tower is from torch, on contents with sound and metadata, without one, and
    without both.

    Sound is decoded from the data's own files where these are still there; torch is given the same samples. The vectors
    that torch computes from the store's records, which `prepare` resampled by itself, are compared as well.

    Args:
        encoder: encoder with the exported tower.
        two_tower: network in evaluation mode.
        store: store that it was trained on.
        sounds: sounds that its audio encoder reads; null without sound.
        project: function from the model's vectors to exported ones.
        max_difference: difference above which the effect of rounding is measured.

    Returns:
        `difference`, the greatest of any component; `inputs`, in words; `least_cosine_to_prepared`, the least cosine of
        the vectors of what serving decodes with those of the store's records, where there is such sound; and, where the
        difference is above `max_difference`, `by_rounding`: how far apart torch's own vectors may be by the rounding of
        log-mels.
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
    """The sound of one content: as serving reads it, as torch does, and the record in the store.

    With a waveform there is also a function that returns its record rounded down and up.
    """

    served: Heard
    record: Record
    prepared: Record | None = None
    bounds: Callable[[], Bounds] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Examples:
    """Examples by content row, and a phrase that says what is compared, to follow a number."""

    of: Mapping[int, _Example]
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hearing:
    """Finds sounds that an encoder can read.

    Args:
        store: store that the encoder was trained on.
        sounds: sounds that it reads; null without sound.
        rows: rows of the contents whose sounds are looked for.
    """

    store: Store
    sounds: Sounds | None
    rows: Sequence[int]

    def of_spectrograms(self, encoder: AudioEncoder) -> _Examples:
        """Returns the data's own files, decoded as serving does it."""
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
        """Returns the given vectors of the contents."""
        assert self.sounds is not None
        examples = {}
        for row in self._heard_rows(self.sounds):
            record = np.asarray(self.sounds.records[self.sounds.rows[row]], np.float32)
            examples[row] = _Example(served={AUDIO_VECTOR: record[:, 0]}, record=record)
        return _Examples(of=examples, words="vectors of sounds")

    def of_nothing(self, encoder: AudioEncoder) -> _Examples:
        """Returns no examples."""
        return _Examples(of={}, words="contents; the model does without sound")

    def of_several(self, encoder: AudioEncoder, parts: Sequence[AudioEncoder]) -> _Examples:
        """Returns for each content the inputs of all parts that have something of it."""
        assert isinstance(encoder, JoinedAudioEncoder)
        heard = [(part, part.hears(self.store.content_ids, self.store.sounds)) for part in parts]
        found = [part.heard_through(replace(self, sounds=sounds)) for part, sounds in heard]
        rows = [row for row in self.rows if any(row in examples.of for examples in found)]
        joined = {row: _joined(encoder, [examples.of.get(row) for examples in found]) for row in rows}
        return _Examples(of=joined, words=" and ".join(dict.fromkeys(examples.words for examples in found)))

    def _heard_rows(self, sounds: Sounds) -> list[int]:
        return [row for row in self.rows if sounds.rows[row] >= 0]


def _joined(encoder: JoinedAudioEncoder, parts: Sequence[_Example | None]) -> _Example:
    """Joins the examples of the parts; a null part has nothing of the content."""

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
    """Returns a sound's record rounded to float16 from the least and from the greatest value that its log-mel may have
    in float32.

    Far below a loud tone, float32 leaves three digits of a band's power. A steady tone has the same power in all
    frames: where that lies between two numbers of float16, all of them are rounded in the same direction, down or up.
    """
    waveforms = [torch.from_numpy(crop) for crop in crops]
    exact = log_mel_of([crop.double() for crop in waveforms], LogMel(settings).double(), settings)
    error = 2 * (log_mel_of(waveforms, LogMel(settings), settings) - exact).abs().amax(dim=-1, keepdim=True)
    return (exact - error).half().float().numpy(), (exact + error).half().float().numpy()


def _codes(store: Store, rows: Sequence[int]) -> tuple[list[dict[str, list[int]]], list[dict[str, list[int]]]]:
    """Returns the codes of contents, as serving finds them from raw metadata, and as the store has them."""
    vocabularies = {part: store.vocabulary(part) for part in store.features.content_parts}
    served = [codes_of(vocabularies, metadata) for metadata in store.contents.take(rows).to_pylist()]
    return served, [{part: codes[row].tolist() for part, codes in store.content_codes.items()} for row in rows]


@torch.inference_mode()
def _in_torch(
    two_tower: TwoTower,
    records: Sequence[Shaped[np.ndarray, "features frames"] | None],
    codes: Sequence[Mapping[str, Sequence[int]]],
) -> Float[np.ndarray, "rows model_dim"]:
    """Returns unit vectors without ids, each encoded alone; contents with null records have no sound."""
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
