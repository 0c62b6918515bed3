"""`towers serve`: an export over HTTP, and a page to explore the space."""

from pathlib import Path
from typing import TypeVar

from omegaconf import DictConfig

from towers.config.instantiate import complete, instantiate, value
from towers.errors import UserError
from towers.service.home_live import HomeSettings
from towers.service.server import Serving, end_with_input, serve

CHECKS = ("manifest", "full")
Number = TypeVar("Number", int, float)


def run(config: DictConfig) -> None:
    """Serves until it is interrupted."""
    stopping_s = _positive("stopping_s", value(config, "stopping_s", int))
    if value(config, "ends_with_input", bool):
        end_with_input(stopping_s)
    audio_root, verify = value(config, "audio_root", str | None), value(config, "verify", str)
    if verify not in CHECKS:
        raise UserError(f"verify={verify}: must be one of {', '.join(CHECKS)}")
    if audio_root is not None and not Path(audio_root).is_dir():
        raise UserError(
            f"audio_root={audio_root}: no such folder; give the one that the contents' audio is relative to"
        )
    lists = value(config, "lists", str | None)
    if lists is not None and not Path(lists).is_dir():
        raise UserError(f"lists={lists}: no such folder; give the one that `towers playlists user=all` writes")
    serving = Serving(
        export=Path(value(config, "export", str)),
        audio_root=None if audio_root is None else Path(audio_root),
        lists=None if lists is None else Path(lists),
        verify=verify,
        watch_s=_positive("watch_s", value(config, "watch_s", float)),
        threads=_positive("threads", value(config, "threads", int)),
        limits=instantiate(config.limits, "limits"),
        home=_home(config),
        metrics=value(config, "metrics", bool),
        stopping_s=stopping_s,
    )
    host, port = value(config, "host", str), value(config, "port", int)
    if not 0 <= port < 65_536:
        raise UserError(f"port={port}: must be from 0 (any free port) to 65535")
    workers = _positive("workers", value(config, "workers", int))
    serve(serving, host, port, workers, value(config, "access_log", bool))


def _home(config: DictConfig) -> HomeSettings | None:
    """Returns the home page's settings; null where no policy is given."""
    return None if value(config, "home.policy", str | None) is None else complete(config.home, "home")


def _positive(key: str, number: Number) -> Number:
    if not number > 0:
        raise UserError(f"{key}={number}: must be above 0")
    return number
