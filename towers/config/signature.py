"""Which run is the same: a digest of what decides the result."""

from omegaconf import DictConfig, OmegaConf

from towers.manifest import digest_of

KEYS_OF_EXPORT = (
    "sink", "dim", "align_to", "variants", "min_variant_overlap", "min_recall_share", "rows_per_part", "num_threads",
)  # fmt: skip
KEYS_WITHOUT_EFFECT = (
    "paths", "logger", "loggers", "name", "checkpoint", "evaluation", "index", "world", *KEYS_OF_EXPORT
)  # fmt: skip
"""Top-level keys that cannot change what is trained, so they do not change a run's signature."""
KEYS_OF_TRAINER_WITHOUT_EFFECT = (
    "progress", "accelerator", "devices", "num_nodes", "micro_batches", "checkpoint_every_s", "max_skipped", "profiler",
    "detect_anomaly", "fast_dev_run",
)  # fmt: skip
"""A step's gradient is the same for any number of processes and micro-batches, but for dropout and the last digits."""
KEYS_OF_TRAINER_WITHOUT_EFFECT_AT_REST = ("callbacks", "max_time", "limit_train_batches")
"""Those that change a signature only where they say something: runs of before do not have them."""
WATCHING_CALLBACKS = tuple(
    f"pytorch_lightning.callbacks.{name}"
    for name in (
        "DeviceStatsMonitor", "LearningRateMonitor", "ModelCheckpoint", "ModelSummary", "OnExceptionCheckpoint",
        "RichModelSummary", "RichProgressBar", "ThroughputMonitor", "TQDMProgressBar",
    )
)  # fmt: skip
"""Callbacks of Lightning that look on. Any other may change what is trained, so with it the run is another one."""


def signature_of(config: DictConfig, *facts: str) -> str:
    """12 hex digits that change with every key that can change the result, and with `facts` (fingerprints)."""
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    relevant = {str(name): value for name, value in container.items() if name not in KEYS_WITHOUT_EFFECT}
    for name, pruned in (
        ("trainer", KEYS_OF_TRAINER_WITHOUT_EFFECT),
        ("data", ("root", "source", "max_duplicate_fraction", "num_workers", "shard")),
        ("datamodule", ("num_workers",)),
    ):
        if isinstance(relevant.get(name), dict):
            relevant[name] = {k: v for k, v in relevant[name].items() if k not in pruned}
    trainer = relevant.get("trainer")
    if isinstance(trainer, dict):
        acting = [node for node in trainer.get("callbacks") or () if node.get("_target_") not in WATCHING_CALLBACKS]
        said = {**trainer, "callbacks": acting}
        relevant["trainer"] = {k: v for k, v in said.items() if v or k not in KEYS_OF_TRAINER_WITHOUT_EFFECT_AT_REST}
    # Of the evaluation only what decides which checkpoint is the best.
    relevant["evaluation"] = {name: container["evaluation"][name] for name in ("filter_seen", "ks", "min_users")}
    return digest_of([relevant, *facts])[:12]
