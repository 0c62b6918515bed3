"""`towers similar`: what is near a track, an episode, an artist or a playlist."""

from pathlib import Path

import hydra
from omegaconf import DictConfig
from rich.console import Console

from towers.config import CONFIG_DIR, raw_list, raw_text, value
from towers.errors import UserError
from towers.retrieval.export import Export, Found
from towers.retrieval.show import described, found_table


def run(config: DictConfig) -> Found:
    """Prints the neighbours and returns them."""
    export = Export(Path(config.export))
    name = raw_text("content", config.content)
    if name is None:
        raise UserError("give content=ID, or a title")
    row = export.content_row(name)
    kinds = raw_list("kind", config.kind)
    found = export.similar(row, value(config, "k", int), None if kinds is None else tuple(kinds))
    title, artists, kind, genres, content_id = described(export, row)
    facts = ", ".join(filter(None, (kind, artists, genres, content_id)))
    Console().print(found_table(export, found, f"Similar to {title} ({facts})"))
    return found


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="similar")
def main(config: DictConfig) -> None:
    """The command."""
    run(config)
