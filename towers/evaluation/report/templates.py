"""Templates of pages: HTML files without scripts, which load nothing from elsewhere."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

HERE = Path(__file__).parent


def template(name: str, folder: Path = HERE, filters: Mapping[str, Callable[..., Any]] | None = None) -> Template:
    """Opens a template, which may include `page.css`, the look that all pages share.

    Args:
        name: of its file.
        folder: where it is.
        filters: its own, by name.
    """
    environment = Environment(
        loader=FileSystemLoader([folder, HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters or {}
    return environment.get_template(name)
