"""Opens the impressions of a store without reading them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from towers.contract.impressions import IMPRESSION_SCHEMA

PARTS = "part-*.parquet"


def open_impressions(folder: Path, until_us: int | None) -> ds.Dataset:
    """Opens the rows of all parts in a folder, in order of arrival; an empty data set where there is no folder.

    Args:
        folder: folder of the parts in a version of a store.
        until_us: leaves out rows of this time or later, in microseconds since 1970, UTC; null keeps all.
    """
    parts = sorted(map(str, folder.glob(PARTS)))
    empty = IMPRESSION_SCHEMA.empty_table()
    rows = ds.dataset(parts, schema=IMPRESSION_SCHEMA, format="parquet") if parts else ds.dataset(empty)
    if until_us is None:
        return rows
    return rows.filter(pc.field("timestamp") < pa.scalar(until_us, IMPRESSION_SCHEMA.field("timestamp").type))
