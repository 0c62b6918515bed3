"""The impressions of a store, opened and not read."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from towers.contract.impressions import IMPRESSION_SCHEMA

PARTS = "part-*.parquet"


def open_impressions(folder: Path, until_us: int | None) -> ds.Dataset:
    """All rows of the parts in a folder, in the order in which they were told; none where it is not there.

    Args:
        folder: of a version of a store.
        until_us: leaves out what was shown from this time on, in microseconds since 1970, UTC; null leaves out nothing.
    """
    parts = sorted(map(str, folder.glob(PARTS)))
    empty = IMPRESSION_SCHEMA.empty_table()
    rows = ds.dataset(parts, schema=IMPRESSION_SCHEMA, format="parquet") if parts else ds.dataset(empty)
    if until_us is None:
        return rows
    return rows.filter(pc.field("timestamp") < pa.scalar(until_us, IMPRESSION_SCHEMA.field("timestamp").type))
