"""Templates of pages: HTML files without scripts, which load nothing from elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

HERE = Path(__file__).parent


def template(name: str, folder: Path = HERE, filters: Mapping[str, Callable[..., Any]] | None = None) -> Template:
    """Opens a template, which may include `page.css`, the common style of all pages.

    Args:
        name: name of the template's file.
        folder: folder of the file.
        filters: further filters of the template, by name.
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


def flat(values: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Flattens nested values to pairs of a dotted name and text, in their order.

    >>> flat({"world": {"cards": 30, "file": None}, "seeds": [0, 1]})
    [('world.cards', '30'), ('world.file', '–'), ('seeds', '0, 1')]
    """
    if isinstance(values, Mapping):
        return [pair for key, value in values.items() for pair in flat(value, f"{prefix}{key}.")]
    if isinstance(values, Sequence) and not isinstance(values, str):
        return [(prefix[:-1], ", ".join(str(value) for value in values))]
    return [(prefix[:-1], "–" if values is None else str(values))]
