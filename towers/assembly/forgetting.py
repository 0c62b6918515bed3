"""`towers forget`: its configuration to a plan."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from towers.assembly.cleaning import folders_of
from towers.config.composing import seen_by
from towers.config.instantiate import instantiate, value
from towers.config.overrides import raw_list, raw_text
from towers.data.forgetting import read_forgotten
from towers.data.store import CURRENT, Store
from towers.errors import UserError
from towers.lifecycle.forgetting import Places
from towers.manifest import scratch_directory
from towers.publishing.sinks.sink import Progress
from towers.service.home_log import OPEN
from towers.training.run_folder import is_held

PENDING = "forget"
"""Temporary file in the folder of stores, from which a prepare reads the ids to forget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgettingPlan:
    """Plan of `towers forget`.

    Args:
        user_ids: ids of the listeners, each once.
        places: where to search.
        removes: whether to remove what is found.
        roots: folders or URLs of the stores' raw data, where the stores name them.
    """

    user_ids: tuple[str, ...]
    places: Places
    removes: bool
    roots: tuple[str, ...]


def forgetting_plan(config: DictConfig, on_progress: Progress) -> ForgettingPlan:
    """Turns the configuration of `towers forget` into a plan.

    Raises:
        UserError: a key has a wrong value, or no listener is named.
    """
    folders = folders_of(config)
    has_data = not OmegaConf.is_missing(config.data, "root") and (folders.stores / config.data.name / CURRENT).exists()
    return ForgettingPlan(
        user_ids=_user_ids(config),
        places=Places(
            folders=folders,
            lists=tuple(path for each in value(config, "lists", list[str]) if (path := Path(each)).exists()),
            home_logs=_home_logs(config),
            sink=instantiate(config.sink, "sink"),
            is_held=is_held,
            prepared=config.data.name if has_data else None,
            on_progress=on_progress,
        ),
        removes=value(config, "remove", bool),
        roots=_roots(folders.stores),
    )


@contextmanager
def prepare_config(config: DictConfig, user_ids: tuple[str, ...]) -> Iterator[DictConfig]:
    """Yields the configuration of `towers prepare` with `data.forget` set to a temporary file of the listeners.

    Raises:
        UserError: `data.forget` is set already.
    """
    if config.data.forget is not None:
        raise UserError(f"data.forget={config.data.forget}: give the ids as users={config.data.forget}")
    with scratch_directory(Path(config.paths.stores) / PENDING) as folder:
        path = folder / "users.txt"
        path.touch(mode=0o600)
        path.write_text("".join(f"{user_id}\n" for user_id in user_ids))
        prepared = seen_by("prepare", config)
        with open_dict(prepared):
            prepared.data.forget = str(path)
        yield prepared


def _user_ids(config: DictConfig) -> tuple[str, ...]:
    one, several = raw_text("user", config.user), config.users
    found = [] if one is None else [one]
    if isinstance(several, ListConfig):
        found += raw_list("users", several) or []
    elif several is not None:
        found += read_forgotten(Path(value(config, "users", str)))
    for user_id in found:
        if not user_id.strip() or "\n" in user_id:
            raise UserError(f"user={user_id!r}: not an id")
    if not found:
        raise UserError("user: no listener is named; give user=ID, users=[ID,ID], or users=FILE with an id a line")
    return tuple(dict.fromkeys(found))


def _home_logs(config: DictConfig) -> tuple[Path, ...]:
    """Returns the log that is named, and logs beside policies, such as the demo's."""
    named = value(config, "home_log", str | None)
    beside = sorted(path.parent for path in Path(config.paths.policies).glob(f"*/{OPEN}"))
    return tuple(dict.fromkeys([*([] if named is None else [Path(named)]), *beside]))


def _roots(stores: Path) -> tuple[str, ...]:
    links = (link for link in sorted(stores.glob(f"*/{CURRENT}")) if link.exists())
    found = (Store(link.resolve()).manifest.get("root") for link in links)
    return tuple(dict.fromkeys(root for root in found if root is not None))
