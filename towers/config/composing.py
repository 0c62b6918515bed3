"""The configuration of a command: composed, then narrowed to what the command reads."""

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from towers.config.messages import one_line
from towers.config.overrides import quoted
from towers.errors import UserError
from towers.manifest import atomic_file

_HERE = Path(__file__).resolve().parents[1]
CONFIG_DIR = str(next(path for path in (_HERE / "configs", _HERE.parent / "configs") if path.is_dir()))
"""Inside the package in a wheel, beside it in a clone."""


@cache
def _scratch() -> str:
    """A folder that is gone when the process ends: Hydra writes a file for every sweep."""
    folder = tempfile.mkdtemp(prefix="towers-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


OmegaConf.register_new_resolver("scratch", _scratch, replace=True)
OmegaConf.register_new_resolver("config_dir", lambda: CONFIG_DIR, replace=True)


def compose(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration of the command `name` with `overrides`, outside of a Hydra application.

    Overrides are read as on the command line: `data.root=Müsik 2026` needs no quotation marks.

    Raises:
        UserError: an override does not fit.
    """
    GlobalHydra.instance().clear()
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        try:
            return hydra_compose(name, overrides=[quoted(override) for override in overrides])
        except Exception as error:
            raise UserError(one_line(error)) from error


def save_resolved(config: DictConfig, path: Path) -> None:
    """Writes the resolved configuration as YAML."""
    with atomic_file(path) as temporary:
        temporary.write_text(OmegaConf.to_yaml(config, resolve=True))
