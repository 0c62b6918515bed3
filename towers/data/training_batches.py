"""Turns plans into batches of one rank: windows in micro-batches, and the contents of the whole step."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch.utils.data import Dataset

from towers.batch import MicroBatch, Route, Routes, Targets, TrainingBatch, rows_of_rank
from towers.data.batches import BatchPlan, Windows
from towers.data.datamodule import DataModule
from towers.data.history_reader import HistoryReader
from towers.data.store import Store
from towers.features.crops import random_crops
from towers.features.sounds import Sounds


@runtime_checkable  # for the tests, which check annotations at run time
class CandidateSampler(Protocol):
    """A sampler of the candidates that a step's targets compete with."""

    def sample(self, target_rows: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Returns unique content rows `[candidates]`, ascending, and the log-probability that each is among them,
        float32."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The part of a step that falls to a process, and in how many micro-batches it runs it.

    Args:
        rank: rank of the process, from 0.
        ranks: number of processes that share a step.
        micro_batches: number of micro-batches of each process.
    """

    rank: int = 0
    ranks: int = 1
    micro_batches: int = 1

    def of(self, total: int) -> slice:
        """Returns the rank's contiguous part of `total` entries; parts are equal, except that the last ones may be
        smaller."""
        return rows_of_rank(total, self.rank, self.ranks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Tables whose rows are divided among ranks, so that ranks exchange rows in each step.

    Args:
        id_rows: `[contents]`, row in the id table, -1 without one.
        num_ids: number of rows of the id table.
        sound_rows: `[contents]`, row in the audio memory, -1 without one.
        num_sounds: number of rows of the audio memory.
    """

    id_rows: np.ndarray
    num_ids: int
    sound_rows: np.ndarray
    num_sounds: int

    def routes(self, content_rows: np.ndarray, fresh_index: np.ndarray, share: Share) -> Routes:
        """Finds which rows of each table one rank sends and receives in a step.

        Args:
            content_rows: contents of the step.
            fresh_index: places in `content_rows` of the contents whose sound is encoded anew.
            share: share of the rank.
        """
        sounds = self.sound_rows[content_rows]
        own, fresh = rows_of_rank(self.num_sounds, share.rank, share.ranks), sounds[fresh_index]
        kept = np.flatnonzero((fresh >= own.start) & (fresh < own.stop))
        return Routes(
            ids=Route.of(self.id_rows[content_rows], self.num_ids, share.rank, share.ranks),
            sounds=Route.of(sounds, self.num_sounds, share.rank, share.ranks),
            fresh=torch.from_numpy(kept),
            fresh_rows=torch.from_numpy(fresh[kept].astype(np.int64) - own.start),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Inputs that the trained model needs in every step.

    Args:
        num_rejections: greatest number of rejected contents that the objective uses with every target.
        has_times: whether the objective uses the times of targets, and the times since which candidates exist.
        sounds: sounds of which each step encodes some anew; null: the audio encoder is not trained.
        tables: tables whose rows are divided among ranks; null: every rank has them whole.
    """

    num_rejections: int
    has_times: bool
    sounds: Sounds | None
    tables: Tables | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """Windows and targets of the whole step, all ranks together.

    Args:
        places: `[windows, length]`, places of events in the store; -1 in the padding.
        heard: `[windows, length]`, content rows; -1 without a content.
        window: `[targets]`, window of the target, ascending.
        event: `[targets]`, place of the target's event in its window.
        state: `[targets]`, place of the state that the target is predicted from.
        rows: `[targets]`, content rows.
        weight: `[targets]`, weight in the loss.
        rejected: `[targets, rejections]`, content rows; -1 where there are fewer.
    """

    places: np.ndarray
    heard: np.ndarray
    window: np.ndarray
    event: np.ndarray
    state: np.ndarray
    rows: np.ndarray
    weight: np.ndarray
    rejected: np.ndarray


class TrainingBatches(Dataset):
    """Turns plans into training batches. Everything that is drawn comes from the plan's seed, the same in any process.

    Every rank draws the whole step and keeps its share of the windows, so that ranks agree on candidates and contents
    without communication.

    Args:
        store: the prepared store.
        candidates: sampler of the candidates that targets compete with.
        settings: settings of targets and crops.
        needs: needs of the model that is trained.
        share: share of this process.

    Raises:
        UserError: crops are shorter than a frame.
    """

    def __init__(
        self,
        store: Store,
        candidates: CandidateSampler,
        settings: DataModule,
        needs: Needs,
        share: Share,
    ):
        self._store = store
        self._reader = HistoryReader(store)
        self._candidates = candidates
        self._settings = settings
        self._needs = needs
        self._share = share
        self._crop_frames = settings.crop_frames(store.features.spectrogram)
        self._place = np.zeros(store.contents.num_rows + 1, np.int32)
        first = store.first_heard_us if needs.has_times else np.zeros(len(store.content_ids), np.int64)
        self._beginning_us = int(first.min(initial=np.iinfo(np.int64).max if needs.has_times else 0))
        self._since_s = self._seconds(first)

    def __getitem__(self, plan: BatchPlan) -> TrainingBatch:
        generator = np.random.default_rng(plan.seed)
        drawn = self._draw(plan.windows, generator)
        candidates, log_q = self._candidates.sample(drawn.rows, generator)
        contents = StepContents(self._place, candidates, drawn.heard, drawn.rejected)
        fresh_index, tables = self._fresh_index(contents.rows, generator), self._needs.tables
        micro_batches = tuple(
            self._micro_batch(plan.windows, drawn, contents, part)
            for part in self._parts(len(plan.windows))
            if len(part)
        )
        return TrainingBatch(
            micro_batches=micro_batches,
            content_rows=torch.from_numpy(contents.rows),
            candidate_log_q=torch.from_numpy(log_q.astype(np.float32)),
            candidate_since_s=torch.from_numpy(self._since_s[candidates]),
            target_rows=torch.from_numpy(drawn.rows),
            total_weight=torch.tensor(max(drawn.weight.sum(dtype=np.float64), 1e-9), dtype=torch.float32),
            fresh_index=torch.from_numpy(fresh_index),
            fresh_spectrograms=torch.from_numpy(self._crops(contents.rows, fresh_index, generator)),
            epoch=plan.epoch,
            number=plan.number,
            batches=plan.batches,
            routes=None if tables is None else tables.routes(contents.rows, fresh_index, self._share),
        )

    def _draw(self, windows: Windows, generator: np.random.Generator) -> _Drawn:
        places = self._reader.places(windows.start, windows.end)
        heard = self._reader.content_rows(places)
        weights = self._reader.target_weights(places, self._settings.repeat_weight)
        window, event = np.nonzero(weights)
        lookahead = self._settings.lookahead
        back = generator.integers(0, np.minimum(event, lookahead - 1) + 1) if lookahead > 1 else 0
        rows = heard[window, event]
        return _Drawn(
            places=places,
            heard=heard,
            window=window,
            event=event,
            state=event - back,
            rows=rows,
            weight=weights[window, event],
            rejected=self._rejected(places, heard, window, event, rows),
        )

    def _rejected(
        self, places: np.ndarray, heard: np.ndarray, window: np.ndarray, event: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        """Returns the contents that the listener last rejected before each target, the latest first; -1 for the
        target's own content and where there are fewer."""
        if not self._needs.num_rejections:
            return np.zeros((len(window), 0), np.int64)
        is_rejected = self._reader.is_rejected(places)
        rejected_rows = np.append(heard[is_rejected], -1)  # in the order of windows and events
        before = np.cumsum(is_rejected, axis=1) - is_rejected
        first = np.concatenate([[0], np.cumsum(is_rejected.sum(axis=1))])[window]
        latest = first + before[window, event] - 1
        at = latest[:, None] - np.arange(self._needs.num_rejections)
        found = np.where(at >= first[:, None], rejected_rows[np.maximum(at, -1)], -1)
        return np.where(found == rows[:, None], -1, found)

    def _parts(self, windows: int) -> list[np.ndarray]:
        """Returns the windows of each micro-batch of this rank. Neighbours, which are of similar length, go to
        different micro-batches."""
        total = self._share.ranks * self._share.micro_batches
        first = self._share.rank * self._share.micro_batches
        return [np.arange(part, windows, total) for part in range(first, first + self._share.micro_batches)]

    def _micro_batch(self, windows: Windows, drawn: _Drawn, contents: "StepContents", part: np.ndarray) -> MicroBatch:
        length = int((windows.end - windows.start)[part].max())
        own_window = np.full(len(windows), -1)
        own_window[part] = np.arange(len(part))
        of_target = own_window[drawn.window]
        own = of_target >= 0
        window = of_target[own]
        places = drawn.places[part, :length]
        histories = self._reader.batch(places, windows.user_rows[part], contents.index(drawn.heard[part, :length]))
        return MicroBatch(
            histories=histories,
            targets=Targets(
                position=torch.from_numpy(window * (length + 1) + drawn.state[own]),
                index=torch.from_numpy(contents.index(drawn.rows[own])),
                weight=torch.from_numpy(drawn.weight[own]),
                event=torch.from_numpy(drawn.event[own]),
                window=torch.from_numpy(window),
                time_s=torch.from_numpy(self._seconds(self._reader.timestamps_us(places[window, drawn.event[own]]))),
                rejected=torch.from_numpy(contents.index(drawn.rejected[own])),
            ),
        )

    def _seconds(self, times_us: np.ndarray) -> np.ndarray:
        """Returns times in seconds since the data's beginning. int32 halves the bytes of a comparison that is made for
        every logit."""
        if not self._needs.has_times:
            return np.zeros(len(times_us), np.int32)
        return np.minimum((times_us - self._beginning_us) // 1_000_000, np.iinfo(np.int32).max).astype(np.int32)

    def _fresh_index(self, content_rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        if self._needs.sounds is None or self._settings.num_fresh_sounds == 0:
            return np.zeros(0, np.int64)
        audible = np.flatnonzero(self._needs.sounds.rows[content_rows] >= 0)
        return generator.permutation(audible)[: self._settings.num_fresh_sounds]

    def _crops(self, content_rows: np.ndarray, fresh: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Returns random crops of the sounds that this rank encodes."""
        sounds = self._needs.sounds
        if sounds is None or not len(fresh):
            return np.zeros((0, 1, 8), np.float32)
        rows = sounds.rows[content_rows[fresh]]
        return random_crops(sounds.records, rows, self._crop_frames, generator, self._share.of(len(fresh)))


class StepContents:
    """The unique contents of a step, candidates first.

    The place of a content is looked up in `place`, which is never cleared: an entry left by an earlier step is
    recognised by the content at the place that it points to (the sparse set of Briggs and Torczon 1993).

    Args:
        place: `[contents + 1]`, int32, of any values; written, and read until the next step's contents are made.
        candidates: content rows, unique and ascending.
        others: further content rows of the step, in any shape; -1 for none.
    """

    def __init__(self, place: np.ndarray, candidates: np.ndarray, *others: np.ndarray):
        self._place = place
        place[candidates] = np.arange(len(candidates))
        heard = np.concatenate([np.zeros(0, np.int64), *(other.reshape(-1) for other in others)])
        beside = heard[(heard >= 0) & ~self._is_among(candidates, heard)]
        place[beside] = np.arange(len(beside))
        beside = np.sort(beside[place[beside] == np.arange(len(beside))])  # of equal rows the one whose place stayed
        place[beside] = len(candidates) + np.arange(len(beside))
        self.rows = np.concatenate([candidates.astype(np.int64), beside])

    def index(self, rows: np.ndarray) -> np.ndarray:
        """Returns the places of content rows in `rows`, and -1 for -1. All of them must be in the step."""
        return np.where(rows < 0, -1, np.take(self._place, rows)).astype(np.int64)

    def _is_among(self, candidates: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if not len(candidates):
            return np.zeros(rows.shape, np.bool_)
        place = np.clip(np.take(self._place, rows), 0, len(candidates) - 1)
        return np.take(candidates, place) == rows
