"""Which run is the same: a digest of what is known to decide the result of a training.

Every key of `towers train` is said to decide or not, here; a test fails for one that is in neither list. What `prepare`
decided (data, features, cuts) comes with the store's fingerprint.
"""

from collections.abc import Mapping
from typing import Any, Final

from omegaconf import DictConfig

from towers.config.composing import resolved
from towers.manifest import digest_of

ALL: Final = None
"""The whole of a key or a group, whatever class it names."""
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
"""What changes the result; of the evaluation only what decides which checkpoint is the best."""
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
"""What does not: data and features stand in the store's fingerprint, the weights that a warm start begins with are a
fact of their own, and a step's gradient is the same for any number of processes and micro-batches, but for dropout and
the last digits."""
WATCHING_CALLBACKS: Final = tuple(
    f"pytorch_lightning.callbacks.{name}"
    for name in (
        "DeviceStatsMonitor", "LearningRateMonitor", "ModelCheckpoint", "ModelSummary", "OnExceptionCheckpoint",
        "RichModelSummary", "RichProgressBar", "ThroughputMonitor", "TQDMProgressBar",
    )
)  # fmt: skip
"""Callbacks of Lightning that look on. Any other may change what is trained, so with it the run is another one."""
WHOLE_ROWS: Final = {"_target_": "towers.models.rows.Whole", "_partial_": True}
LATER: Final[tuple[tuple[tuple[str, ...], str, Any], ...]] = (
    ((), "rows", WHOLE_ROWS),
    (("content_tower",), "id_min_events", 1),
    (("objective", "candidates"), "max_in_batch", None),
)
"""Keys that came when runs were there already: where they stand, and the value that says what was so before."""
NO_PLACEMENT: Final = "towers.training.placement.NoPlacement"
"""Leaves contents where they are, whatever an experiment names to place them by."""


def placed_by(config: DictConfig) -> Any:
    """The node of the audio encoder that placement takes in the place of one that learns; null: none."""
    placement = config.placement
    return None if placement.get("_target_") == NO_PLACEMENT else placement.get("audio_encoder")


def signature_of(config: DictConfig, *facts: str) -> str:
    """12 hex digits that change with every key that decides the result, and with `facts` (fingerprints)."""
    found = _as_before(resolved(config))
    deciding = {group: _of(found[group], group) for group in DECIDES if group in found}
    if "audio_encoder" in deciding["placement"] and placed_by(config) is None:
        deciding["placement"] = {**deciding["placement"], "audio_encoder": None}
    callbacks: Any = found["trainer"].get("callbacks") or ()
    callbacks = [node for node in callbacks if node.get("_target_") not in WATCHING_CALLBACKS]
    deciding["trainer"] = {**deciding["trainer"], "callbacks": callbacks}
    return digest_of([deciding, *facts])[:12]


def network_digest(config: DictConfig) -> str:
    """Equal for runs of the same network, objective and placement, whatever they were trained on and how long."""
    found = _as_before(resolved(config))
    return digest_of(
        [found.get(group) for group in ("audio_encoder", "content_tower", "user_tower", "objective", "placement")]
    )


def digest_of_run(config: Mapping[str, Any]) -> str:
    """Returns the digest of all of a run's configuration, by which an export's manifest names its run.

    Args:
        config: resolved.
    """
    return digest_of(_as_before(dict(config)))


def _as_before(config: dict[str, Any]) -> dict[str, Any]:
    """Leaves out keys that came later and say what was so before, so that runs of before are found."""
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
    """What decides of a group; of one with a class of somebody's own also its keys that are not known here."""
    silent = DOES_NOT.get(group) or ()
    return {key: value for key, value in node.items() if key not in silent} if isinstance(node, dict) else node
