"""`towers similar`: what is near a track, an episode, an artist or a playlist."""

from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig
from rich.console import Console

from towers.config import CONFIG_DIR, raw_list, raw_text, value
from towers.errors import UserError
from towers.retrieval.export import Export, Found
from towers.retrieval.raw_contents import encode_content
from towers.retrieval.show import described, found_table


def run(config: DictConfig) -> Found:
    """Prints the neighbours and returns them."""
    export = Export(Path(config.export), value(config, "check", bool))
    name, audio = raw_text("content", config.content), value(config, "audio", str | None)
    if (name is None) == (audio is None):
        raise UserError("give either content=ID, or a title, or audio=FILE")
    kinds, k = raw_list("kind", config.kind), value(config, "k", int)
    if audio is not None:
        return near_sound(export, Path(audio), value(config, "metadata", dict[str, Any] | None) or {}, kinds, k)
    row = export.content_row(name or "")
    found = export.similar(row, k, None if kinds is None else tuple(kinds))
    title, artists, kind, genres, content_id = described(export, row)
    facts = ", ".join(filter(None, (kind, artists, genres, content_id)))
    Console().print(found_table(export, found, f"Similar to {title} ({facts})"))
    return found


def near_sound(export: Export, audio: Path, metadata: dict[str, Any], kinds: list[str] | None, k: int) -> Found:
    """What is near a sound that the catalogue does not have, by the content tower; of its own kind."""
    vector = encode_content(export, audio, metadata)
    found = export.recommend(vector, k, tuple(kinds or [metadata.get("kind", "track")]))
    Console().print(found_table(export, found, f"Similar to {audio}"))
    return found


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="similar")
def main(config: DictConfig) -> None:
    """The command."""
    run(config)
