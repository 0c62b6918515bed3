"""PySpark: the engine where a cluster is there already. Spark does the table work; the driver reads sorted results."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from socket import gethostname

from towers.data.engines.engine import Database
from towers.errors import UserError
from towers.extras import how_to_install
from towers.manifest import scratch_directory


class SparkEngine:
    """Runs the SQL files on Spark.

    A session that is there already is used as it is, and one that `spark-submit` set up with its settings; otherwise
    one is started and ended again.

    Args:
        master: URL of the cluster, such as `spark://host:7077` or `yarn`; `local[n]` for n threads of this machine.
        memory_gb: the heap of the driver, in 10^9 bytes; with a local master that is all there is.
        settings: others of Spark's by their names, such as `spark.executor.memory`.

    Raises:
        UserError: PySpark or sqlglot is missing, or an amount that is not above 0.
    """

    def __init__(
        self,
        master: str = "local[*]",
        memory_gb: float = 2.0,
        settings: Mapping[str, str | int | float | bool] | None = None,
    ):
        if not memory_gb > 0:
            raise UserError(f"data.engine.memory_gb={memory_gb}: must be above 0")
        if any(find_spec(name) is None for name in ("pyspark", "sqlglot")):
            raise UserError(f"data/engine=spark needs PySpark and sqlglot: {how_to_install('spark')}")
        self._master, self._memory_gb, self._settings = master, memory_gb, dict(settings or {})

    @contextmanager
    def open(self, folder: Path, spill: Path | None) -> Iterator[Database]:
        """Views in a session of their own; tables and results are Parquet files in a folder of the spill.

        Raises:
            UserError: Java is missing, or Spark does not start.
        """
        from towers.data.engines.spark_database import spark_database
        from towers.data.engines.spark_session import session

        place = (spill or folder).absolute()
        with (
            scratch_directory(place / f"spark-{gethostname()}") as kept,
            session(self._master, self._memory_gb, self._settings, folder, kept) as spark,
            spark_database(spark, kept) as database,
        ):
            yield database
