"""`towers verify`: checks an export with the base install."""

from pathlib import Path

from omegaconf import DictConfig

from towers.config.instantiate import value
from towers.errors import UserError
from towers.retrieval.export import Export
from towers.retrieval.verify import problems


def run(config: DictConfig) -> None:
    """Prints that the export is intact, or fails with all that is wrong."""
    export = Export(Path(config.export), check_files=False)
    found = list(problems(export, value(config, "min_index_recall", float)))
    if found:
        raise UserError(f"{export.folder} is damaged: " + "; ".join(found))
    counts = export.manifest["counts"]
    print(
        f"verified {export.folder}: {len(export.manifest['files'])} checksums, {counts['contents']:,} contents, "
        f"{counts['users']:,} listeners, space {export.space_id}"
    )
