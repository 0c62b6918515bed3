"""Signature of a run: a digest of all that is known to decide the result of a training.

Every key of `towers train` is listed here as deciding or not; a test fails for a key in neither list. What `prepare`
decided (data, features, cuts) enters by the store's fingerprint.
"""

from collections.abc import Mapping
from typing import Any, Final

from omegaconf import DictConfig

from towers.config.composing import resolved
from towers.manifest import digest_of

ALL: Final = None
"""Stands for all keys of a group, or for a key that is no group."""
DECIDES: Final[dict[str, tuple[str, ...] | None]] = {
    "seed": ALL, "train_until": ALL, "audio_encoder": ALL, "content_tower": ALL, "user_tower": ALL, "objective": ALL,
    "optimizer": ALL, "schedule": ALL, "rows": ALL, "placement": ALL,
    "datamodule": ("_target_", "max_length", "max_tokens", "repeat_weight", "lookahead", "num_fresh_sounds", "crop_s"),
    "trainer": (
        "_target_", "max_epochs", "validate_every_epochs", "refresh_sounds_every_steps", "monitor", "patience",
        "gradient_clip", "precision", "callbacks", "max_time", "limit_train_batches",
    ),
    "evaluation": ("filter_seen", "ks", "min_users"),
}  # fmt: skip
"""Keys that change the result; of the evaluation, only those that decide which checkpoint is best."""
DOES_NOT: Final[dict[str, tuple[str, ...] | None]] = {
    "data": ALL, "features": ALL, "profiling": ALL, "name": ALL, "paths": ALL, "logger": ALL, "loggers": ALL,
    "warm_start": ALL,
    "datamodule": ("num_workers",),
    "trainer": (
        "progress", "accelerator", "devices", "num_nodes", "micro_batches", "checkpoint_every_s", "max_skipped",
        "profiler", "detect_anomaly", "fast_dev_run",
    ),
    "evaluation": ("main_metric",),
}  # fmt: skip
"""Keys that do not change it: data and features are in the store's fingerprint; the weights that a warm start begins
with are a fact of their own; and a step's gradient is the same for any number of processes and micro-batches, except
for dropout and the last digits."""
WATCHING_CALLBACKS: Final = tuple(
    f"pytorch_lightning.callbacks.{name}"
    for name in (
        "DeviceStatsMonitor", "LearningRateMonitor", "ModelCheckpoint", "ModelSummary", "OnExceptionCheckpoint",
        "RichModelSummary", "RichProgressBar", "ThroughputMonitor", "TQDMProgressBar",
    )
)  # fmt: skip
"""Callbacks of Lightning that only watch. Any other may change what is trained and is therefore part of the
signature."""
WHOLE_ROWS: Final = {"_target_": "towers.models.rows.Whole", "_partial_": True}
LATER: Final[tuple[tuple[tuple[str, ...], str, Any], ...]] = (
    ((), "rows", WHOLE_ROWS),
    (("content_tower",), "id_min_events", 1),
    (("objective", "candidates"), "max_in_batch", None),
)
"""Keys added after runs existed: where they are, and the value that means the former behaviour."""
NO_PLACEMENT: Final = "towers.training.placement.NoPlacement"
"""Placement that leaves contents where they are; the audio encoder that an experiment names for it is then ignored."""


def placed_by(config: DictConfig) -> Any:
    """Returns the node of the audio encoder that placement uses in place of a trained one; null: none."""
    placement = config.placement
    return None if placement.get("_target_") == NO_PLACEMENT else placement.get("audio_encoder")


def signature_of(config: DictConfig, *facts: str) -> str:
    """Returns 12 hex digits that change with every key that decides the result, and with `facts` (fingerprints)."""
    found = _as_before(resolved(config))
    deciding = {group: _of(found[group], group) for group in DECIDES if group in found}
    if "audio_encoder" in deciding["placement"] and placed_by(config) is None:
        deciding["placement"] = {**deciding["placement"], "audio_encoder": None}
    callbacks: Any = found["trainer"].get("callbacks") or ()
    callbacks = [node for node in callbacks if node.get("_target_") not in WATCHING_CALLBACKS]
    deciding["trainer"] = {**deciding["trainer"], "callbacks": callbacks}
    return digest_of([deciding, *facts])[:12]


def network_digest(config: DictConfig) -> str:
    """Returns a digest that is equal for runs of the same network, objective and placement, on any data and of any
    length."""
    found = _as_before(resolved(config))
    return digest_of(
        [found.get(group) for group in ("audio_encoder", "content_tower", "user_tower", "objective", "placement")]
    )


def digest_of_run(config: Mapping[str, Any]) -> str:
    """Returns the digest of all of a run's configuration, by which an export's manifest names its run.

    Args:
        config: configuration with interpolations resolved.
    """
    return digest_of(_as_before(dict(config)))


def _as_before(config: dict[str, Any]) -> dict[str, Any]:
    """Removes later keys whose value means the former behaviour, so that the signatures of older runs stay the same."""
    for path, name, value in LATER:
        config = _without(config, path, name, value)
    return config


def _without(node: Any, path: tuple[str, ...], name: str, value: Any) -> Any:
    """Returns a node whose part at `path` lacks a key that has the value."""
    if not isinstance(node, dict):
        return node
    if path:
        return {key: _without(part, path[1:], name, value) if key == path[0] else part for key, part in node.items()}
    return {key: part for key, part in node.items() if (key, part) != (name, value)}


def _of(node: Any, group: str) -> Any:
    """Returns the deciding keys of a group, including unknown keys of a caller's own class."""
    silent = DOES_NOT.get(group) or ()
    return {key: value for key, value in node.items() if key not in silent} if isinstance(node, dict) else node
