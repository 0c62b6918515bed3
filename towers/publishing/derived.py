"""What an export holds beside vectors and tables: made of files that are written already, for whoever makes lists."""

from pathlib import Path
from typing import Any

import numpy as np

from towers.publishing.co_listening import chosen_lists, co_listening
from towers.publishing.recordings import recordings
from towers.publishing.regions import regions
from towers.publishing.styles import styles
from towers.publishing.trained import ExportSettings
from towers.retrieval import files
from towers.retrieval.export import Export


class _Unfinished(Export):
    """An export whose vectors, contents and histories are written, and whose manifest is not."""

    def __init__(self, folder: Path, manifest: dict[str, Any]):
        self.folder, self.manifest = folder, manifest


def write_derived(
    folder: Path, manifest: dict[str, Any], settings: ExportSettings, earlier: Export | None
) -> dict[str, Any]:
    """Writes what follows from vectors, contents and histories.

    Args:
        folder: of the export, in which these are.
        manifest: as far as it is known: `format`, `space_id` and `dim`.
        settings: how many regions there are.
        earlier: the version that serves, whose regions are carried on; null: none.

    Returns:
        Figures for the manifest, by what they are of.
    """
    export = _Unfinished(folder, manifest)
    chosen = chosen_lists(export)
    near = co_listening(export, chosen)
    near.write(folder / files.CO_LISTENING)
    same = recordings(export)
    np.save(folder / files.RECORDINGS, same)
    divided = styles(export, export.contents["genres"])
    divided.write(folder / files.STYLES)
    positives = np.bincount(chosen.values, minlength=len(same))
    mapped = regions(export, divided, positives, same, earlier, settings.regions)
    mapped.write(folder / files.REGIONS)
    return {
        "co_listening": {"contents": int((near.rows[:, 0] >= 0).sum())},
        "recordings": {"contents_again": int((same != np.arange(len(same))).sum())},
        "styles": {"styles": len(divided.names), "imputed": int((~divided.is_given).sum())},
        "regions": dict(zip(map(str, mapped.ids.tolist()), mapped.names, strict=True)),
    }
