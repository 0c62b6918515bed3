"""Data sets of a night as OpenLineage names and describes them; needs openlineage-python.

The prepared store and `current` are data sets with versions. The raw data is one data set, and each run and each
exported version is a data set of its own, as they are compared with one another.
"""

import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pyarrow.ipc
import pyarrow.parquet as pq
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    data_quality_assertions_dataset,
    dataset_version_dataset,
    output_statistics_output_dataset,
    schema_dataset,
)
from openlineage.client.generated.base import BaseFacet
from openlineage.client.naming.dataset import S3, RemoteFileSystem

from towers.data.sources.remote import is_remote
from towers.disk import size_of
from towers.lifecycle.record import Record
from towers.manifest import read_json
from towers.retrieval.files import MANIFEST
from towers.secrets import masked

Facet = TypeVar("Facet", bound=BaseFacet)


def told_by(facet: Facet, producer: str) -> Facet:
    """Sets the producer of a facet and returns it.

    Args:
        facet: facet of any kind.
        producer: URI of the producer.
    """
    facet._producer = producer  # the library's own constructors call it by a name that type checkers do not know
    return facet


class Datasets:
    """Describes data sets.

    Args:
        producer: URI of the producer of the facets.
    """

    def __init__(self, producer: str):
        self._producer = producer

    def raw(self, root: str) -> InputDataset:
        """Names the raw data, a folder or an address of an object store."""
        namespace, name = named(root)
        return InputDataset(namespace=namespace, name=name)

    def read(self, folder: Path, record: Record | None = None) -> InputDataset:
        """Describes a run, a version or a store that is read.

        Args:
            folder: folder of the run, the version or the store.
            record: record whose verdict is about it; null: none.
        """
        namespace, name, facets = self._described(folder)
        found = None if record is None else self._assertions(record)
        return InputDataset(
            namespace=namespace,
            name=name,
            facets=facets,
            inputFacets={} if found is None else {"dataQualityAssertions": found},
        )

    def written(self, folder: Path) -> OutputDataset:
        """Describes a run, a version or a store that was made, with its size."""
        namespace, name, facets = self._described(folder)
        statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=_rows(folder), size=size_of(folder), fileCount=_files(folder)
        )
        made: dict[str, Any] = {"outputStatistics": told_by(statistics, self._producer)}
        return OutputDataset(namespace=namespace, name=name, facets=facets, outputFacets=made)

    def current(self, folder: Path) -> OutputDataset:
        """Describes what `current`, the link beside a version, points to.

        Args:
            folder: folder of the version.
        """
        namespace, name = named(str(folder.parent.absolute() / "current"))
        return OutputDataset(namespace=namespace, name=name, facets=self._version(folder.name) | self._schema(folder))

    def _described(self, folder: Path) -> tuple[str, str, dict[str, Any]]:
        """Returns namespace, name and facets; all versions of a store share a name."""
        folder = folder.absolute()
        is_store = (folder / MANIFEST).exists() and "fingerprint" in read_json(folder / MANIFEST)
        namespace, name = named(str(folder.parent if is_store else folder))
        return namespace, name, self._version(folder.name) | self._schema(folder)

    def _version(self, name: str) -> dict[str, Any]:
        facet = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=name)
        return {"version": told_by(facet, self._producer)}

    def _schema(self, folder: Path) -> dict[str, Any]:
        """Returns the columns of its tables, by file; empty where it has no table."""
        tables = [
            schema_dataset.SchemaDatasetFacetFields(name=name, type="table", fields=_fields(schema))
            for name, schema in _tables(folder)
        ]
        if not tables:
            return {}
        return {"schema": told_by(schema_dataset.SchemaDatasetFacet(fields=tables), self._producer)}

    def _assertions(self, record: Record) -> Any:
        """Returns the outcome of each rule of the gate that was asked and applies; null where none was.

        An overruled refusal ends nothing: its severity is `warn`.
        """
        refusal = "error" if record.verdict.get("forced") is None else "warn"
        found = [
            data_quality_assertions_dataset.Assertion(
                assertion=each["rule"],
                name=each["rule"],
                success=each["status"] == "passed",
                severity=refusal if each["status"] == "refused" else "error",
                description=masked(each["words"]),
                expected=None if each.get("limit") is None else str(each["limit"]),
            )
            for each in record.verdict.get("outcomes", ())
            if each["status"] in ("passed", "refused")
        ]
        if not found:
            return None
        facet = data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(assertions=found)
        return told_by(facet, self._producer)


def named(place: str) -> tuple[str, str]:
    """Returns namespace and name of a folder or an address, by OpenLineage's rules of naming.

    >>> named("s3://bucket/plays/2026"), named("gs://bucket/plays")
    (('s3://bucket', 'plays/2026'), ('gs://bucket', 'plays'))
    """
    if not is_remote(place):
        path = os.path.normpath(Path(place).expanduser().absolute())
        local = RemoteFileSystem(host=socket.gethostname(), path=str(path))
        return local.get_namespace(), local.get_name()
    parts = urlsplit(masked(place))
    key = parts.path.strip("/") or "/"
    if parts.scheme == "s3":
        bucket = S3(bucket_name=parts.netloc, object_key=key)
        return bucket.get_namespace(), bucket.get_name()
    return f"{parts.scheme}://{parts.netloc}", key


def _tables(folder: Path) -> Iterable[tuple[str, Any]]:
    """Yields the name and the Arrow schema of each table of a store or an export; for a table in parts, that of the
    first part."""
    for path in sorted(folder.glob("*.arrow")):
        with pyarrow.memory_map(str(path)) as file:
            yield path.name, pyarrow.ipc.open_file(file).schema
    for path in sorted([*folder.glob("*.parquet"), *folder.glob("*/part-00000.parquet")]):
        yield str(path.relative_to(folder)), pq.read_schema(path)


def _fields(schema: Any) -> list[Any]:
    return [
        schema_dataset.SchemaDatasetFacetFields(name=field.name, type=str(field.type), ordinal_position=place)
        for place, field in enumerate(schema, 1)
    ]


def _rows(folder: Path) -> int | None:
    """Returns the number of events of a store, or of vectors of an export; null where the manifest has no counts."""
    if not (folder / MANIFEST).exists():
        return None
    manifest = read_json(folder / MANIFEST)
    counts = manifest.get("counts", {})
    tables = ("events",) if "fingerprint" in manifest else ("contents", "users")
    return sum(counts[table] for table in tables) if counts.keys() >= set(tables) else None


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))
