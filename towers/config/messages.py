"""What Hydra and OmegaConf say of a mistake, in one line that names the key and the way out."""

import re

from hydra.errors import OverrideParseException

from towers.config.keys import nearest

ELSEWHERE = {
    "trainer.gradient_clip_val": "trainer.gradient_clip",
    "trainer.accumulate_grad_batches": "trainer.micro_batches",
    "trainer.check_val_every_n_epoch": "trainer.validate_every_epochs",
    "trainer.enable_progress_bar": "trainer.progress",
    "trainer.logger": "logger, or loggers",
    "trainer.default_root_dir": "paths.runs",
    "trainer.max_steps": "trainer.max_epochs, trainer.limit_train_batches",
    "trainer.strategy": "trainer.devices",
    "candidates": "among, or objective.candidates in a training",
    **{
        key: f"export.{key}"
        for key in (
            "dim", "align_to", "variants", "min_variant_overlap", "min_recall_share", "max_parity_difference",
            "rows_per_part", "num_threads",
        )
    },
}  # fmt: skip
"""Key that is looked for -> the key here that does it. Lightning's: a step sums, clips and cuts its gradient by itself.
An export's had no group once. `among` had another name."""


def one_line(error: BaseException) -> str:
    """An error's message and its cause's as one line."""
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override}: cannot be read; text with other signs than letters, digits and -_./:@ "
            "goes into quotes within the shell's quotes, such as \"user='a, b'\""
        )
    missing = re.search(r"Missing mandatory value: (\S+)", str(error))
    if missing:
        return f"{missing[1]}: missing; give it as {missing[1]}=VALUE"
    unknown = re.search(r"^Could not override '([\w.]+)'\.?\s+To append", str(error))
    if unknown:
        return no_such_key(unknown[1])
    parts = [str(error), *([str(error.__cause__)] if error.__cause__ else [])]
    return "; ".join(" ".join(part.split()) for part in dict.fromkeys(parts) if part)


def no_such_key(key: str) -> str:
    """That a key is none, and which was meant."""
    if place := elsewhere(key):
        return place
    meant = nearest(key)
    if meant == key:
        return f"{key}: no key of this command, but of another"
    advice = f"did you mean {meant}?" if meant else "--help shows those that there are"
    return f"{key}: no such key; {advice}"


def elsewhere(key: str) -> str | None:
    """What to give in the place of a key that stands elsewhere here."""
    return f"{key}: not here; give {ELSEWHERE[key]}" if key in ELSEWHERE else None
