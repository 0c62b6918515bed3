"""The pages of the API reference: which classes and functions each of them shows.

A page describes one room. It begins with the modules and classes that are imported by hand (`ENTRIES`), goes on with
the room's interfaces, which are its classes that are a `Protocol`, and ends with the parts that a configuration may
choose, which are the `_target_` of configs/. The code is read as text and never imported.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOMS = {
    "api": "The commands in Python, and an export opened once for many questions.",
    "contract": "What all rooms may know: tables, events, impressions, slates, policies, provenance.",
    "data": "Raw tables to a prepared store, and the store's batches.",
    "features": "Events, metadata and sound to codes and samples; numpy alone, the same in training and in serving.",
    "models": "The networks: content tower, user tower and audio encoders.",
    "training": "The LightningModule, its objectives and what a target competes with.",
    "evaluation": "Full ranking over the catalogue: metrics, slices, baselines, off-policy estimates.",
    "retrieval": "An export read without torch: vectors, index, search.",
    "publishing": "A trained network to a version of an export, and engines that get the vectors, too.",
    "policies": "Lists for people from an export: playlists, the home page's bandit, the agent.",
    "simulation": "The demo's invented world, simulated listeners and the environment that they live in.",
    "lifecycle": "Nights, the gate's rules, watchers, and which stores, runs and exports may go.",
    "service": "HTTP over an export.",
}
"""Public rooms in the order of the reference, each with what it is for."""

MADE = frozenset(["reference/index.md", *(f"reference/{room}.md" for room in ROOMS)])
"""Paths of the pages in docs/, where they are not kept."""

ENTRIES = {
    "api": ["towers.api"],
    "contract": [
        f"towers.contract.{name}"
        for name in ["events", "impressions", "playlists", "policy", "provenance", "schema", "slate", "tables"]
    ],
    "data": [
        "towers.data.store.Store",
        "towers.data.batches",
        "towers.data.datamodule",
        "towers.data.splits.split",
        "towers.data.filters.filter",
        "towers.data.engines.engine",
    ],
    "features": ["towers.features.events", "towers.features.sound", "towers.features.content_facts"],
    "models": ["towers.models.content_tower", "towers.models.user_tower", "towers.models.audio.encoder"],
    "training": [
        "towers.training.module",
        "towers.training.objectives.objective",
        "towers.training.objectives.negatives",
    ],
    "retrieval": [
        "towers.retrieval.opened",
        "towers.retrieval.export.Export",
        "towers.retrieval.query",
        "towers.retrieval.index",
    ],
    "policies": ["towers.policies.opened", "towers.policies.request"],
    "lifecycle": ["towers.lifecycle.watching.watcher"],
    "service": ["towers.service.app", "towers.service.live"],
}
"""Modules and classes that are imported by hand, by room."""


def reference(root: Path) -> dict[str, str]:
    """Returns the Markdown of each page of the reference, by its path in docs/."""
    parts = chosen_by_configurations(root)
    pages = {"reference/index.md": index()}
    for room, said in ROOMS.items():
        entries = ENTRIES.get(room, [])
        named = set(entries)
        interfaces = [name for name in protocols(root, room) if not is_shown(name, named)]
        rest = [name for name in parts if name.split(".")[1] == room and not is_shown(name, named | set(interfaces))]
        sections = [("", entries), ("Interfaces", interfaces), ("Parts that a configuration may choose", rest)]
        title = "towers.api" if room == "api" else f"towers.{room}"
        text = f"# {title}\n{said}\n"
        for heading, names in sections:
            text += f"\n## {heading}\n" if heading and names else ""
            text += "".join(f"\n::: {name}\n" for name in names)
        pages[f"reference/{room}.md"] = text
    return pages


def index() -> str:
    """Returns the reference's first page."""
    rows = "".join(f"| [towers.{room}]({room}.md) | {said} |\n" for room, said in ROOMS.items())
    return (
        "# API reference\n"
        "These pages are made from the docstrings. They show what is imported from Python, the interfaces that a\n"
        "class of your own implements, and every part that a file of `configs/` names with `_target_`.\n\n"
        f"| room | what it holds |\n|---|---|\n{rows}"
    )


def is_shown(name: str, named: set[str]) -> bool:
    """Returns whether an object is on the page already, by itself or as a member of its module."""
    return name in named or name.rpartition(".")[0] in named


def chosen_by_configurations(root: Path) -> list[str]:
    """Returns the full names of all objects of the package that configs/ names, sorted."""
    texts = (path.read_text() for path in (root / "configs").rglob("*.yaml"))
    return sorted({name for text in texts for name in re.findall(r"_target_: *(towers\.[\w.]+)", text)})


def protocols(root: Path, room: str) -> Iterator[str]:
    """Yields the full names of a room's public protocols that have a docstring, by module."""
    for path in sorted((root / "towers" / room).rglob("*.py")):
        text = path.read_text()
        if "Protocol" not in text:
            continue
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and is_protocol(node) and not node.name.startswith("_"):
                yield f"{module}.{node.name}"


def is_protocol(node: ast.ClassDef) -> bool:
    """Returns whether a class names `Protocol` among its bases."""
    return any(re.match(r"Protocol\b", ast.unparse(base)) for base in node.bases)
