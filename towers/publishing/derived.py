"""Derived files of an export, made from vectors, contents and histories that are already written, for making lists."""

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
    """An export whose vectors, contents and histories are written, but whose manifest is not."""

    def __init__(self, folder: Path, manifest: dict[str, Any]):
        self.folder, self.manifest = folder, manifest


def write_derived(
    folder: Path, manifest: dict[str, Any], settings: ExportSettings, earlier: Export | None
) -> dict[str, Any]:
    """Writes the files derived from vectors, contents and histories.

    Args:
        folder: folder of the export, in which these are.
        manifest: what is known of the manifest: `format`, `space_id` and `dim`.
        settings: settings with the number of regions.
        earlier: version that serves, whose regions are continued; null: none.

    Returns:
        Figures for the manifest, by what they describe.
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
