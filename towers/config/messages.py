"""Translates errors of Hydra and OmegaConf into one line that names the key and the way out."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from hydra.errors import OverrideParseException

from towers.config.keys import CONFIG_DIR, choices, nearest, readers
from towers.contract.near_names import near_name

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
    "learning_rate": "optimizer.lr",
    "batch_size": "datamodule.max_tokens",
    "datamodule.batch_size": "datamodule.max_tokens",
    **{
        key: f"export.{key}"
        for key in (
            "dim", "align_to", "variants", "min_variant_overlap", "min_recall_share", "max_parity_difference",
            "rows_per_part", "num_threads",
        )
    },
}  # fmt: skip
"""Keys that callers may look for, and the key here that does the same. Lightning's, as a training step accumulates,
clips and divides its gradient by itself; those of an export, which once had no group; and the old name of `among`."""


def one_line(error: BaseException, command: str | None = None) -> str:
    """Returns an error's message and its cause's as one line, and Hydra's messages on overrides in this project's
    words.

    Args:
        error: any exception.
        command: command whose keys are suggested; null: any.
    """
    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override), command)
    text = str(error)
    for pattern, told in HYDRAS.items():
        if found := re.search(pattern, text):
            return told(found, command)
    parts = [text, *([str(error.__cause__)] if error.__cause__ else [])]
    return "; ".join(" ".join(part.split()) for part in dict.fromkeys(parts) if part)


def no_such_key(key: str, command: str | None = None) -> str:
    """Returns the message that a command has no such key, with the key that was probably meant."""
    if place := elsewhere(key):
        return place
    meant = nearest(key, command)
    if meant is None:
        return f"{key}: no such key; --help shows those that there are"
    others = [] if command is None or command in readers(meant) else [f"towers {name}" for name in readers(meant)]
    if meant == key:
        return f"{key}: no key of this command, but of {' and '.join(others) or 'another'}"
    return f"{key}: no such key; did you mean {meant}{', of ' + ' and '.join(others) if others else ''}?"


def no_such_choice(group: str, choice: str, choices: Sequence[str]) -> str:
    """Returns the message that a group has no such file, with the file that was probably meant."""
    meant = near_name(choice, choices)
    advice = f"did you mean {group}={meant}? " if meant else ""
    return f"{group}={choice}: no such choice; {advice}There are {', '.join(choices)}"


def _unreadable(override: str, command: str | None) -> str:
    if re.fullmatch(r"[+\w./@]+", override):
        key = override.lstrip("+")
        meant = nearest(key, command) or key
        return f"{override}: has no value; give it as {meant}=VALUE"
    return (
        f"{override}: cannot be read; text with other signs than letters, digits and -_./:@ "
        "goes into quotes within the shell's quotes, such as \"user='a, b'\""
    )


def _not_there(found: re.Match[str], command: str | None) -> str:
    """Returns why `~key` removes nothing: there is no such key, or it has no value; Hydra has one message for both."""
    key = found[1]
    return f"~{key}: has no value to remove" if nearest(key, command) == key else no_such_key(key, command)


HYDRAS: Final[dict[str, Callable[[re.Match[str], str | None], str]]] = {
    r"Missing mandatory value: (\S+)": lambda found, _: f"{found[1]}: missing; give it as {found[1]}=VALUE",
    r"^Could not override '([^']+)'\.?\s+Did you mean to override (\S+)\?": lambda found, _: (
        f"{found[1]}: no such key; did you mean {found[2]}?"
    ),
    r"^Could not override '([^']+)'\.?\s+To append": lambda found, command: no_such_key(found[1], command),
    r"^Could not delete from config\. '([^']+)' does not exist": _not_there,
    r"^Could not delete from config\. The value of '(\S+)' is (.*) and not (.*)\.": lambda found, _: (
        f"~{found[1]}={found[3]}: its value is {found[2]}; ~{found[1]} removes it with any value"
    ),
    r"^Could not append to config\. An item is already at '([^']+)'": lambda found, _: (
        f"+{found[1]}: is there already; give it as {found[1]}=VALUE, without the +"
    ),
    r"^(?:Multiple values for )?(\S+?)(?:\. To override a value use| appears more than once in the final defaults)": (
        lambda found, _: (
            f"{found[1]}: is chosen already; give it as {found[1]}=NAME, without a +, or in a file's defaults as "
            f"`override {found[1]}: NAME`"
        )
    ),
    r"Could not find '([^']+)/([^'/]*)'\s+Available options in '\1':((?s:.*?))\s+Config search path": lambda found, _: (
        no_such_choice(found[1], found[2], found[3].split())
    ),
    r"Could not load '([^']+)/([^'/]*)'": lambda found, _: no_such_choice(found[1], found[2], choices(found[1])),
    r"^Ambiguous value for argument '([\w.@/]+)=(.*?)'\n": lambda found, _: (
        f"{found[1]}={found[2]}: is several values; -m sweeps over them, {found[1]}=[{found[2]}] is a list, "
        f"\"{found[1]}='{found[2]}'\" is text"
    ),
    r"^Error merging override ((\+{0,2}[\w./]+)\.[^.=]+=.*)": lambda found, _: (
        f"{found[1]}: nothing can be set there; give {found[2].lstrip('+')}=VALUE as a whole"
    ),
    r"^Interpolation key '([^']+)' not found": lambda found, command: (
        f"${{{found[1]}}} refers to a key that is none: {no_such_key(found[1], command)}"
    ),
    r"^Cannot find primary config '([^']+)'": lambda found, _: (
        f"--config-name={found[1]}: no such file in {CONFIG_DIR}, or in the folder that --config-dir names"
    ),
}  # fmt: skip
"""Patterns of messages of Hydra and OmegaConf, each with a function that returns this project's message."""


def elsewhere(key: str) -> str | None:
    """Returns a message with the key to use for a key that has another name here; null for others."""
    return f"{key}: not here; give {ELSEWHERE[key]}" if key in ELSEWHERE else None
