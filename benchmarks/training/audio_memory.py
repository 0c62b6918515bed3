"""What does sound cost in a step of training, as catalogues and histories grow?

The audio part of a step reads the crops of `--fresh` sounds out of the memory-mapped records, encodes them with
gradient, takes the gradient back through the encoder, and writes the vectors into the table. All other sounds of the
step are looked up. Beside it: the look-ups of the step's contents, the whole gradient of the step, which sees longer
histories and, as the gradient of the id table is dense, a larger catalogue; and what the audio part would be if every
sound in the step's histories were encoded (its time a sound, times the sounds: computed, not run).

Sizes take turns, times are core-seconds (user and system), medians; a step has `--windows` histories whatever their
length. Records are zeros in a sparse file, so nothing here says what reading from a disk costs.

    OMP_NUM_THREADS=1 python benchmarks/training/audio_memory.py
"""

import argparse
import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, timed, write_result
from benchmarks.training.uniform_histories import micro_batch_of
from towers.batch import TrainingBatch
from towers.config.composing import compose
from towers.config.instantiate import complete
from towers.data.training_batches import Share, StepContents
from towers.features.ragged import Ragged
from towers.features.settings import SpectrogramSettings
from towers.models.audio.encoder import SoundStatistics
from towers.models.rows import WHOLE, Rows
from towers.models.two_tower import TwoTower
from towers.training.content_table import ContentTable
from towers.training.objectives.negatives import Uniform
from towers.training.objectives.softmax import Softmax
from towers.training.processes import Processes
from towers.training.step import Learner, accumulate_gradient

CATALOGUES = (1_000, 10_000, 100_000)
LENGTHS = (50, 200, 800)
SPECTROGRAMS = SpectrogramSettings(sample_rate=16_000, n_fft=1_024, hop_length=320, n_mels=64, record_s=10.0)
NUM_NEGATIVES = 256
AUDIO, LOOK_UPS, STEP = "audio part", "look-ups", "whole gradient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Measures one size.

    Args:
        sounds: in the catalogue; every content has one.
        length: of the histories, in events.
        learner: of that catalogue.
        records: of its sounds.
        batch: a step, whose crops are read anew.
        sounds_in_histories: different ones in the step's histories.
    """

    sounds: int
    length: int
    learner: Learner
    records: np.ndarray
    batch: TrainingBatch
    sounds_in_histories: int


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--catalogues", type=int, nargs="+", default=CATALOGUES, help="sounds in each")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="events of a history")
    parser.add_argument("--fresh", type=int, default=16, help="sounds encoded in a step")
    parser.add_argument("--windows", type=int, default=4, help="histories in a step")
    parser.add_argument("--repetitions", type=int, default=25)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    add_smallest(parser, catalogues=[100], lengths=[10], fresh=2, windows=2, repetitions=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        learners = {sounds: make_learner(sounds) for sounds in arguments.catalogues}
        records = {sounds: make_records(Path(folder), sounds) for sounds in arguments.catalogues}
        cases = [
            make_case(arguments, learners[sounds], records[sounds], sounds, length)
            for sounds, length in product(arguments.catalogues, arguments.lengths)
        ]
        rows = measure(cases, arguments.repetitions)
    Console(width=140).print(as_table(rows, arguments))
    write_result(arguments, "audio_memory", {"sizes": vars(arguments), "figures": rows})


def make_learner(sounds: int, rows: Rows = WHOLE) -> Learner:
    """The default network over contents of which sound and id are known."""
    config = compose("train", ["data.root=unused", "audio_encoder=conv"])
    bands = SPECTROGRAMS.n_mels
    encoder = complete(config.audio_encoder, "audio_encoder", statistics=SoundStatistics.of_none(bands))
    contents = complete(
        config.content_tower, "content_tower", vocabulary_sizes={}, audio_dim=encoder.dim, is_audio_standardised=False,
        num_events=torch.ones(sounds, dtype=torch.int64), rows=rows,
    )  # fmt: skip
    users = complete(
        config.user_tower, "user_tower", user_vocabulary_sizes=(), num_contexts=2, content_dim=contents.dim
    )
    table = ContentTable(dict[str, Ragged](), np.arange(sounds), sounds, encoder.dim, rows)
    objective = Softmax(Uniform(np.ones(sounds, np.int64), NUM_NEGATIVES), 0.07, is_temperature_learned=True)
    return Learner(TwoTower(encoder, contents, users), table, objective).train()


def make_records(folder: Path, sounds: int) -> np.ndarray:
    frames = round(SPECTROGRAMS.record_s * SPECTROGRAMS.sample_rate / SPECTROGRAMS.hop_length)
    shape = (sounds, SPECTROGRAMS.n_mels, frames)
    return np.memmap(folder / f"{sounds}.records", np.float16, "w+", shape=shape)


def make_case(arguments: argparse.Namespace, learner: Learner, records: np.ndarray, sounds: int, length: int) -> Case:
    """Histories of contents drawn uniformly, every event a target."""
    generator = np.random.default_rng(arguments.seed)
    heard = generator.integers(0, sounds, (arguments.windows, length))
    candidates, log_q = learner.objective.candidates.sample(heard.reshape(-1), generator)
    contents = StepContents(np.zeros(sounds + 1, np.int32), candidates, heard)
    batch = TrainingBatch(
        micro_batches=(micro_batch_of(heard, contents),),
        content_rows=torch.from_numpy(contents.rows),
        candidate_log_q=torch.from_numpy(log_q),
        candidate_since_s=torch.zeros(len(candidates), dtype=torch.int32),
        target_rows=torch.from_numpy(heard.reshape(-1)),
        total_weight=torch.tensor(float(heard.size)),
        fresh_index=torch.from_numpy(generator.permutation(len(contents.rows))[: arguments.fresh]),
        fresh_spectrograms=torch.zeros(0, SPECTROGRAMS.n_mels, 8),
        epoch=0, number=0, batches=1,
    )  # fmt: skip
    return Case(
        sounds=sounds, length=length, learner=learner, records=records, batch=batch,
        sounds_in_histories=len(np.unique(heard)),
    )  # fmt: skip


def crops(case: Case) -> torch.Tensor:
    """The first five seconds of the step's fresh sounds, as `datamodule.crop_s` has it."""
    width = case.records.shape[-1] // 2
    rows = case.batch.content_rows[case.batch.fresh_index].tolist()
    return torch.from_numpy(np.stack([case.records[row, :, :width].astype(np.float32) for row in rows]))


def audio_part(case: Case) -> None:
    rows = case.batch.content_rows[case.batch.fresh_index]
    vectors = case.learner.two_tower.audio_encoder(crops(case))
    vectors.backward(torch.ones_like(vectors))  # in the place of what the towers hand down
    case.learner.table.remember(rows, vectors.detach(), torch.tensor(True))


def look_ups(case: Case) -> None:
    case.learner.table.batch(case.batch.content_rows)


def whole_gradient(case: Case) -> None:
    batch = replace(case.batch, fresh_spectrograms=crops(case))
    _, fresh = accumulate_gradient(case.learner, batch, Processes(Share()), contextlib.nullcontext())
    assert fresh is not None
    case.learner.table.remember(fresh.content_rows, fresh.vectors, torch.tensor(True))


def measure(cases: list[Case], repetitions: int) -> list[dict]:
    """Figures of every size; one repetition of each after the other, the first round warms up."""
    parts: dict[str, Callable[[Case], None]] = {AUDIO: audio_part, LOOK_UPS: look_ups, STEP: whole_gradient}
    seconds = {(place, name): [] for place in range(len(cases)) for name in parts}
    for _ in range(1 + repetitions):
        for (place, name), taken in seconds.items():
            cases[place].learner.zero_grad(set_to_none=True)
            taken.append(timed(partial(parts[name], cases[place]))[1])
    medians = {key: median(taken[1:]) for key, taken in seconds.items()}
    first = medians[0, AUDIO]
    rows = []
    for place, case in enumerate(cases):
        audio = medians[place, AUDIO]
        rows.append(
            {
                "sounds": case.sounds, "length": case.length, "sounds_in_histories": case.sounds_in_histories,
                "audio_s": audio, "audio_ratio": audio / first, "look_ups_s": medians[place, LOOK_UPS],
                "gradient_s": medians[place, STEP],
                "audio_if_all_were_encoded_s": audio / len(case.batch.fresh_index) * case.sounds_in_histories,
            }
        )  # fmt: skip
    return rows


def as_table(rows: list[dict], arguments: argparse.Namespace) -> Table:
    table = Table(
        title=f"a step of {arguments.windows} histories, {arguments.fresh} sounds encoded: milliseconds of one core"
    )
    for name in (
        "sounds in the catalogue",
        "history length",
        AUDIO,
        "ratio to the first row",
        LOOK_UPS,
        STEP,
        "sounds in the histories",
        "audio part if all were encoded",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            f"{row['sounds']:,}", f"{row['length']}", f"{1e3 * row['audio_s']:.1f}", f"{row['audio_ratio']:.2f}",
            f"{1e3 * row['look_ups_s']:.2f}", f"{1e3 * row['gradient_s']:.1f}", f"{row['sounds_in_histories']:,}",
            f"{1e3 * row['audio_if_all_were_encoded_s']:,.0f}",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
