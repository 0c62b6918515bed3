"""A finished run: the network with its final weights."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from omegaconf import DictConfig
from torch import Tensor

from towers.assembly.network import NetworkParts, build_content_table, heard_by, network_parts
from towers.assembly.prepared import until_of
from towers.assembly.warm_start import WarmStart, store_of_run
from towers.config.composing import config_of_run, resolved
from towers.config.signature import signature_of
from towers.contract.provenance import Provenance
from towers.data.compact import compacted
from towers.data.histories import Until
from towers.data.loaders import UserBatches
from towers.data.refreshed import RefreshedStore
from towers.data.store import Store
from towers.data.training_batches import Share
from towers.errors import UserError
from towers.features.sounds import Sounds
from towers.models.content_tower import ContentTower
from towers.models.two_tower import TwoTower
from towers.publishing.owners import place_owners
from towers.training.checkpoints import digest_of_weights, final_checkpoint, load_weights
from towers.training.content_table import ContentTable
from towers.training.embed import content_blocks, embed_users, refresh_audio, sound_blocks
from towers.training.processes import Processes
from towers.training.run_folder import FINISHED, PLACED


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished training run, loaded.

    Args:
        folder: folder of the run.
        checkpoint: file of its final state.
        name: name of its experiment.
        config: configuration of its training, as plain values.
        until: period at whose start training ended, or the end of the data.
        store: store whose listeners and contents get vectors.
        trained_on: store that it was trained on; the same unless it was refreshed.
        two_tower: the network, in evaluation mode.
        table: codes and sound vectors of the contents.
        sounds: sounds that its audio encoder reads; null without sound.
    """

    folder: Path
    checkpoint: Path
    name: str
    config: Mapping[str, Any]
    until: Until
    store: Store
    trained_on: Store
    two_tower: TwoTower
    table: ContentTable
    sounds: Sounds | None

    @property
    def provenance(self) -> Provenance:
        """Data that it was trained on."""
        return Provenance(
            trained_on=self.trained_on.fingerprint,
            trained_until_us=_end_of_training(self.trained_on, self.until),
            has_seen_validation=self.until != "validation",
            has_seen_test=self.until == "end",
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the final weights, in hex."""
        return digest_of_weights(self.checkpoint)

    @property
    def max_length(self) -> int:
        """Most events of a history that the user tower reads."""
        return self.config["datamodule"]["max_length"]

    @property
    def max_tokens(self) -> int:
        """Most padded tokens of a batch."""
        return self.config["datamodule"]["max_tokens"]

    def content_vectors(self) -> Float[np.ndarray, "contents dim"]:
        """Returns unit vectors of all contents by row, float32; every sound is encoded anew.

        An artist or a playlist that no listener chose in training gets the mean of its contents.
        """
        vectors = np.concatenate(list(self.content_blocks()))
        place_owners(vectors, self.store.members, self.positives > 0)
        return vectors

    def content_blocks(self) -> Iterator[Float[np.ndarray, "block dim"]]:
        """Yields unit vectors of all contents in blocks, float32; an artist or a playlist gets that of its own id."""
        if self.sounds is not None:
            refresh_audio(self.two_tower, self.table, self.sounds.records, Processes(Share()))
        return (block.float().cpu().numpy() for block in content_blocks(self.two_tower, self.table))

    def sound_blocks(self) -> Iterator[Float[np.ndarray, "block dim"]]:
        """Yields vectors of contents by their sound alone, zeros without sound; call it after `content_blocks`."""
        return (block.float().cpu().numpy() for block in sound_blocks(self.two_tower, self.table))

    @property
    def positives(self) -> Int[np.ndarray, " contents"]:
        """Number of positive events with each content in training."""
        return self.store.trained_until(self.until).train_positives

    def user_vectors(
        self,
        user_rows: np.ndarray,
        content_vectors: Float[np.ndarray, "contents dim"],
        until: Until,
    ) -> Float[np.ndarray, "users dim"]:
        """Returns unit vectors of listeners from their histories up to the start of a period or to the end, float32."""
        histories = self.store.histories
        batches = UserBatches(self.store, histories.known_until(until), user_rows, self.max_length, self.max_tokens)
        return embed_users(self.two_tower, batches, torch.from_numpy(content_vectors).to(self.table.device))


def _end_of_training(store: Store, until: Until) -> int | None:
    """Returns the time at which training ends, in microseconds since 1970; null where events have no times, and where
    it ends at a different time for each listener."""
    if until == "end":
        return None if store.end_us is None else store.end_us + 1
    start_us = store.manifest[f"{until}_start_us"]
    return None if start_us is None else start_us - store.gap_us


def run_folder(config: DictConfig, store: Store, network: NetworkParts, warm_start: WarmStart | None) -> Path:
    """Returns the folder of a run, which follows from all that can change its result: settings, the store, files that
    the audio encoder reads, and the weights that it starts from."""
    began = () if warm_start is None else warm_start.facts
    signature = signature_of(config, store.fingerprint, *network.files(), *began)
    return Path(config.paths.runs) / config.name / signature


def moved(weights: Mapping[str, Tensor], module: TwoTower | ContentTable, store: Store) -> dict[str, Tensor]:
    """Returns weights trained on one store, arranged for the rows of another.

    Args:
        weights: weights of the module, by name.
        module: module that gets them.
        store: store that gives the row of each content in training.
    """
    if isinstance(module, ContentTable):  # its vectors of sounds are computed anew
        return dict(module.state_dict())
    prefix = "content_tower."
    tower = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    found = ContentTower.weights_moved(tower, torch.from_numpy(store.trained_rows))
    return {**weights, **{prefix + name: value for name, value in found.items()}}


def load_run(folder: Path, stores: Path, is_refreshed: bool = False, is_compact: bool = False) -> Run:
    """Loads the network of a run with its final weights.

    Args:
        folder: folder of the run.
        stores: folder of all prepared stores.
        is_refreshed: whether to give vectors of the listeners and contents of the newest store, not of the run's own.
        is_compact: whether contents and listeners that are gone from the store have no rows.

    Raises:
        UserError: no finished run there, its store is gone, or another version of the network was trained.
    """
    if not (folder / FINISHED).exists():
        raise UserError(f"checkpoint={folder}: no finished run here; give the folder that `towers train` named")
    config = config_of_run(folder)
    until = until_of(config)
    trained_on = store_of_run(folder, stores)
    as_trained = trained_on.trained_until(until)
    today = Store.open(stores / config.data.name) if is_refreshed else trained_on
    is_refreshed = today.fingerprint != trained_on.fingerprint  # equal: there is no newer data
    store = RefreshedStore(today, as_trained) if is_refreshed else trained_on
    counted = store if is_refreshed else as_trained
    if is_compact:
        store, counted = compacted(store), compacted(counted)
    checkpoint = final_checkpoint(folder)
    parts = network_parts(config)
    two_tower = parts.build(counted, is_placed=checkpoint.name == PLACED)
    sounds = heard_by(two_tower.audio_encoder, store)
    table = build_content_table(store, two_tower.audio_encoder.dim, sounds, parts.rows_of())
    weights = load_weights(checkpoint)
    for prefix, module in (("two_tower.", two_tower), ("table.", table)):
        own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        if store is not trained_on:
            own = moved(own, module, store)
        try:
            module.load_state_dict(own)
        except RuntimeError as error:  # torch names every tensor, in as many lines
            raise UserError(
                f"{checkpoint}: its weights are not those of the network that config.yaml describes; it was trained "
                "by another version of towers: train again with this one"
            ) from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    two_tower.to(device).eval()
    table.to(device)
    return Run(
        folder=folder, checkpoint=checkpoint, name=config.name, config=resolved(config),
        until=until, store=store, trained_on=trained_on, two_tower=two_tower, table=table,
        sounds=sounds,
    )  # fmt: skip
