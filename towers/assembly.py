"""Store and settings to a network, and a run's checkpoint to one: where sizes from the data meet the model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from omegaconf import DictConfig, OmegaConf

from towers.config import complete, instantiate, signature_of, value
from towers.contract.provenance import Provenance
from towers.contract.schema import PLAYABLE_KINDS
from towers.data.build import described
from towers.data.datamodule import UserBatches
from towers.data.store import Store
from towers.data.training_batches import Share
from towers.errors import UserError
from towers.evaluation.ranking.rankers import Ranker
from towers.evaluation.ranking.vectors import VectorRanker
from towers.manifest import read_json
from towers.models.audio.encoder import AudioEncoder, SoundStatistics
from towers.models.audio.sounds import Sounds
from towers.models.content_tower import ContentTower
from towers.models.two_tower import TwoTower
from towers.models.user_tower import UserTower
from towers.publishing.owners import place_owners
from towers.training.checkpoints import FINISHED, PLACED, digest_of_weights, final_checkpoint, load_weights
from towers.training.content_table import ContentTable
from towers.training.embed import content_blocks, embed_users, refresh_audio, sound_blocks
from towers.training.processes import Ranks
from towers.training.torch_ranker import TorchRanker

SOUNDS_FOR_NORMALISATION = 2_000
PARTS = ("audio_encoder", "content_tower", "user_tower")


def build_two_tower(
    store: Store,
    audio_encoder: Callable[..., AudioEncoder],
    content_tower: Callable[..., ContentTower],
    user_tower: Callable[..., UserTower],
) -> TwoTower:
    """A fresh network that fits the store.

    Args:
        store: gives sizes, which contents are trained, and the statistics of its sound.
        audio_encoder: takes `statistics` of the store's sound.
        content_tower: takes `vocabulary_sizes`, `audio_dim`, `is_audio_standardised`, `is_trained`.
        user_tower: takes `user_vocabulary_sizes`, `num_contexts`, `content_dim`.
    """
    encoder = audio_encoder(statistics=sound_statistics(store))
    contents = content_tower(
        vocabulary_sizes={part: len(store.vocabulary(part)) for part in store.features.content_parts},
        audio_dim=encoder.dim,
        is_audio_standardised=encoder.is_standardised,
        is_trained=torch.from_numpy(store.train_positives > 0),
    )
    users = user_tower(
        user_vocabulary_sizes=tuple(len(store.vocabulary(column)) for column in store.features.user_columns),
        num_contexts=len(store.vocabulary("context")),
        content_dim=contents.dim,
    )
    return TwoTower(audio_encoder=encoder, content_tower=contents, user_tower=users)


def network_of(config: DictConfig, store: Store, is_placed: bool = False) -> TwoTower:
    """A fresh network as the configuration says.

    Args:
        config: of the run.
        store: that it shall fit.
        is_placed: whether it is that of contents which were placed: with the encoder of `placement` where there is one
            and the run's own would have to learn.
    """
    nodes = {part: config[part] for part in PARTS}
    if is_placed:  # a run of before does not know of placement
        placing = config.placement.get("audio_encoder")
        if placing is not None and instantiate(config.audio_encoder, "audio_encoder").func.learns:
            nodes["audio_encoder"] = placing
    return build_two_tower(store, *(partial(complete, node, part) for part, node in nodes.items()))


def heard_by(encoder: AudioEncoder, store: Store) -> Sounds | None:
    """What the encoder reads: the store's spectrograms, or what it brings itself; null without sound."""
    found = store.spectrograms
    return encoder.hears(
        store.content_ids, None if found is None else Sounds(records=found.records, rows=store.audio_rows)
    )


def told_of_sound(encoder: AudioEncoder, store: Store, sounds: Sounds | None) -> tuple[str, ...]:
    """Lines for people: how many of the contents that can be played an encoder of sound hears."""
    if not encoder.dim:
        return ()
    is_playable = np.isin(store.contents["kind"].to_numpy(zero_copy_only=False), PLAYABLE_KINDS)
    heard = 0 if sounds is None else int((sounds.rows[is_playable] >= 0).sum())
    total = int(is_playable.sum())
    line = f"{heard:,} of {total:,} contents have a sound; {total - heard:,} train on what else is known of them"
    return (line, *(sounds.notes if sounds else ()))


def build_content_table(store: Store, audio_dim: int, sounds: Sounds | None) -> ContentTable:
    """What the store knows of its contents, and room for a vector of each of their sounds."""
    if sounds is None:
        return ContentTable(store.content_codes, np.full(len(store.content_ids), -1), 0, audio_dim)
    return ContentTable(store.content_codes, sounds.rows, len(sounds.records), audio_dim)


def sound_statistics(store: Store) -> SoundStatistics:
    """Over contents that training has seen, of many of them some."""
    n_mels = store.features.spectrogram.n_mels
    trained = store.audio_rows[(store.train_positives > 0) & (store.audio_rows >= 0)]
    if store.spectrograms is None or not len(trained):
        return SoundStatistics.of_none(n_mels)
    chosen = np.sort(np.random.default_rng(0).permutation(trained)[:SOUNDS_FOR_NORMALISATION])
    means, squares = np.zeros((len(chosen), n_mels)), np.zeros((len(chosen), n_mels))
    for place, row in enumerate(chosen):
        record = store.spectrograms.records[row].astype(np.float64)
        means[place], squares[place] = record.mean(axis=1), (record**2).mean(axis=1)
    mean = means.mean(axis=0)
    std = np.sqrt(np.maximum(squares.mean(axis=0) - mean**2, 1e-4))
    deviations = np.sqrt(np.maximum(squares - means**2, 0))
    of_sounds = np.concatenate([(means - mean) / std, deviations / std], axis=1)
    found = {"mean": mean, "std": std, "sound_mean": of_sounds.mean(axis=0),
             "sound_std": np.maximum(of_sounds.std(axis=0), 0.1)}  # fmt: skip
    return SoundStatistics(**{name: torch.from_numpy(numbers).float() for name, numbers in found.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished training run, loaded.

    Args:
        folder: of the run.
        checkpoint: its last state of all.
        config: as it was trained.
        store: what it was trained on.
        two_tower: the network, in evaluation mode.
        table: what is known of the contents.
        sounds: what its audio encoder reads; null without sound.
    """

    folder: Path
    checkpoint: Path
    config: DictConfig
    store: Store
    two_tower: TwoTower
    table: ContentTable
    sounds: Sounds | None

    @property
    def provenance(self) -> Provenance:
        """What it was trained on."""
        has_seen_validation = self.config.get("train_until") == "test"
        return Provenance(
            trained_on=self.store.fingerprint,
            trained_until_us=self.store.manifest["test_start_us" if has_seen_validation else "validation_start_us"],
            has_seen_validation=has_seen_validation,
        )

    @property
    def fingerprint(self) -> str:
        """Of the weights."""
        return digest_of_weights(self.checkpoint)

    def content_vectors(self) -> Float[np.ndarray, "contents dim"]:
        """Unit vectors of all contents by row, float32; every sound is encoded anew.

        An artist or a playlist that training has not seen chosen is the mean of its contents.
        """
        vectors = np.concatenate(list(self.content_blocks()))
        place_owners(vectors, self.store.members, self.positives > 0)
        return vectors

    def content_blocks(self) -> Iterator[Float[np.ndarray, "block dim"]]:
        """The same in blocks, with artists and playlists where their own ids put them."""
        if self.sounds is not None:
            refresh_audio(self.two_tower, self.table, self.sounds.records, Ranks(Share()))
        return (block.float().cpu().numpy() for block in content_blocks(self.two_tower, self.table))

    def sound_blocks(self) -> Iterator[Float[np.ndarray, "block dim"]]:
        """Contents by their sound alone, zeros without; as `content_blocks`, after which they are to be asked for."""
        return (block.float().cpu().numpy() for block in sound_blocks(self.two_tower, self.table))

    @property
    def positives(self) -> Int[np.ndarray, " contents"]:
        """Positive events with each content in training."""
        return training_store(self.config, self.store).train_positives

    def user_vectors(
        self,
        user_rows: np.ndarray,
        content_vectors: Float[np.ndarray, "contents dim"],
        until: Literal["validation", "test", "end"],
    ) -> Float[np.ndarray, "users dim"]:
        """Unit vectors of listeners from their histories up to the start of a period, or to the end, float32."""
        histories = self.store.histories
        ends = {"validation": histories.train_end, "test": histories.test_start, "end": histories.offsets[1:]}
        settings = self.config.datamodule
        batches = UserBatches(self.store, ends[until], user_rows, settings.max_length, settings.max_tokens)
        return embed_users(self.two_tower, batches, torch.from_numpy(content_vectors).to(self.table.device))


def training_store(config: DictConfig, store: Store) -> Store:
    """The store as training sees it: up to where `train_until` says.

    Raises:
        UserError: neither validation nor test.
    """
    until = config.get("train_until", "validation")  # runs of before do not have it
    if until not in ("validation", "test"):
        raise UserError(f"train_until={until}: must be validation or test")
    return store.trained_until_test() if until == "test" else store


def open_store(config: DictConfig) -> Store:
    """The prepared store that the configuration describes.

    Raises:
        UserError: none was prepared, or from other data, features or cuts than the configuration says.
    """
    store = Store.open(Path(value(config, "paths.stores", str)) / value(config, "data.name", str))
    if instantiate(config.features, "features") != store.features:
        raise UserError(f"{store.folder}: was prepared with other features; run `towers prepare` with the same keys")
    if described(instantiate(config.data.split, "data.split")) != store.manifest["split"]:
        raise UserError(f"{store.folder}: was prepared with other cuts (data.split); run `towers prepare` again")
    root, prepared = config.data.get("root"), store.manifest.get("root")
    if (
        not OmegaConf.is_missing(config.data, "root")
        and prepared is not None
        and Path(root).resolve() != Path(prepared).resolve()
    ):
        raise UserError(
            f"{store.folder}: was prepared from {prepared}, not data.root={root}; run `towers prepare` with the same "
            "data.root, and give another data.name to keep both"
        )
    return store


def newest_run(runs: Path, name: str) -> Path:
    """The finished run of an experiment that ended last.

    Raises:
        UserError: there is none.
    """
    finished = list((runs / name).glob(f"*/{FINISHED}"))  # a name may have signs of a pattern
    if not finished:
        raise UserError(
            f"{runs / name}: no finished run here; run `towers train` first, with the same experiment=, or give "
            "checkpoint=FOLDER"
        )
    return max(finished, key=lambda path: path.stat().st_mtime_ns).parent


def run_folder(config: DictConfig, store: Store) -> Path:
    """Follows from whatever can change the result: settings, the store, and files that the audio encoder reads."""
    placing = instantiate(config.placement, "placement").audio_encoder
    encoders = [instantiate(config.audio_encoder, "audio_encoder"), *([placing] if placing is not None else [])]
    files = [file for encoder in encoders for file in encoder.func.fingerprints(**encoder.keywords)]
    return Path(config.paths.runs) / config.name / signature_of(config, store.fingerprint, *files)


def chosen_run(config: DictConfig) -> Path:
    """The run that `checkpoint` names, else the newest finished one of the experiment."""
    if config.checkpoint is not None:
        return Path(str(config.checkpoint))
    return newest_run(Path(config.paths.runs), value(config, "name", str))


def evaluation_settings(config: DictConfig) -> dict[str, Any]:
    """What the harness wants to know.

    Raises:
        UserError: a list of no length, or a slice of no listener.
    """
    ks, min_users = value(config, "evaluation.ks", tuple[int, ...]), value(config, "evaluation.min_users", int)
    if not ks or min(ks) < 1:
        raise UserError(f"evaluation.ks={list(ks)}: needs lengths of at least 1")
    if min_users < 1:
        raise UserError(f"evaluation.min_users={min_users}: must be at least 1")
    return {
        "filter_seen": value(config, "evaluation.filter_seen", bool),
        "ks": ks,
        "min_users": min_users,
    }


def vector_ranker() -> Callable[..., Ranker]:
    """Makes a ranker of vectors (task, name, listeners' vectors, contents'): on the GPU where there is one."""
    if torch.cuda.is_available():
        return partial(TorchRanker, device=torch.device("cuda"))
    return VectorRanker


def load_run(folder: Path, stores: Path) -> Run:
    """The network of a run with the weights that it came to.

    Raises:
        UserError: no finished run there, its store is gone, or another version of the network was trained.
    """
    if not (folder / FINISHED).exists():
        raise UserError(f"checkpoint={folder}: no finished run here; give the folder that `towers train` named")
    config = OmegaConf.load(folder / "config.yaml")
    assert isinstance(config, DictConfig)
    store = Store(stores / config.data.name / read_json(folder / "environment.json")["store"])
    checkpoint = final_checkpoint(folder)
    two_tower = network_of(config, training_store(config, store), is_placed=checkpoint.name == PLACED)
    sounds = heard_by(two_tower.audio_encoder, store)
    table = build_content_table(store, two_tower.audio_encoder.dim, sounds)
    weights = load_weights(checkpoint)
    for prefix, module in (("two_tower.", two_tower), ("table.", table)):
        own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
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
        folder=folder, checkpoint=checkpoint, config=config, store=store, two_tower=two_tower, table=table,
        sounds=sounds,
    )  # fmt: skip
