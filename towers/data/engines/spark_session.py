"""A Spark session to work in: one that is there, or one that is started quietly and ended; and errors in one line."""

import errno
import logging
import os
import shutil
import signal
import subprocess
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark import SparkConf, SparkContext
from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from towers.data.engines.engine import Unreadable
from towers.errors import Unreachable, UserError

P = ParamSpec("P")
R = TypeVar("R")
OURS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96TimestampConversion": "false",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.parquet.binaryAsString": "false",
    "spark.sql.parquet.int96AsTimestamp": "true",
    "spark.sql.parquet.writeLegacyFormat": "false",
    "spark.sql.sources.useV1SourceList": "avro,csv,json,kafka,orc,parquet,text",
    "spark.sql.variable.substitute": "false",
    "spark.sql.parser.escapedStringLiterals": "false",
    "spark.sql.parquet.mergeSchema": "false",
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.files.maxRecordsPerFile": "0",
}
"""Settings that decide what a query gives. They hold in our own session alone, not in the caller's."""
LOG = "spark.log"
LOCAL_PARTITIONS = 16
"""Pieces that rows are sorted and joined in on one machine; Spark's own 200 are for a cluster. Each spills to disk."""
JAVA_OPTIONS = "spark.driver.extraJavaOptions"
QUIET = """status = error
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %p %c{1}: %m%n
"""
"""Settings of the JVM's log."""
# It looks for pandas wherever it is handed a list; nothing here uses pandas.
warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)

GONE = (
    "data/engine=spark: Spark's JVM has ended; if it was out of memory, data.engine.memory_gb gives it more. The same "
    "command goes on from here"
)
UNREADABLE = ("FAILED_READ_FILE", "CANNOT_READ_FILE", "is not a Parquet file", "ARITHMETIC_OVERFLOW", "long overflow")
"""Texts of Spark about files that cannot be read to their end."""


@contextmanager
def session(
    master: str, memory_gb: float, settings: Mapping[str, Any], folder: Path, spill: Path
) -> Iterator[SparkSession]:
    """Yields a session of our own: in a Spark that runs already, else in one that is ended with the block.

    Args:
        master: URL of the cluster, for a Spark that is started here.
        memory_gb: heap of the driver, in 10^9 bytes.
        settings: further settings of a Spark that is started here.
        folder: folder for the JVM's log.
        spill: folder for data that does not fit into memory.

    Raises:
        UserError: Java is missing, or Spark does not start.
    """
    if SparkContext._active_spark_context is not None:
        yield _own(SparkSession.getActiveSession() or SparkSession.builder.getOrCreate())
        return
    with _started(master, memory_gb, settings, folder, spill) as started:
        yield _own(started)


def _own(there: SparkSession) -> SparkSession:
    """Returns a session beside another one, with views and settings of its own."""
    own = there.newSession()
    for name, value in OURS.items():
        own.conf.set(name, value)
    return own


@contextmanager
def _started(
    master: str, memory_gb: float, settings: Mapping[str, Any], folder: Path, spill: Path
) -> Iterator[SparkSession]:
    """Starts Spark, and ends it and its JVM with the block."""
    conf = SparkConf()
    is_submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if not is_submitted:
        _check_java()
        conf.setAll([*_settings(master, memory_gb, folder, spill).items()])
        given = {name: _text(value) for name, value in settings.items()}
        if JAVA_OPTIONS in given:
            given[JAVA_OPTIONS] = f"{conf.get(JAVA_OPTIONS)} {given[JAVA_OPTIONS]}"
        conf.setAll([*given.items()])
    with _unheard(), _ctrl_c_as_before():
        gateway, context = _launched(conf, folder / LOG, is_submitted)
    with _unheard():
        started = SparkSession(context)
        try:
            yield started
        except KeyboardInterrupt:  # in the middle of an answer: the JVM can be asked nothing any more
            context._jsc = None
            raise
        finally:
            with suppress(Py4JError, OSError):  # the JVM may be gone
                started.stop()
            SparkSession._instantiatedSession = SparkContext._active_spark_context = None
            if not is_submitted:
                _end_jvm(gateway)


@contextmanager
def _unheard() -> Iterator[None]:
    """Nothing of what py4j says of an error that is raised as well goes to the log."""
    root, silent = logging.getLogger(), logging.NullHandler()
    root.addHandler(silent)
    try:
        yield
    finally:
        root.removeHandler(silent)


@contextmanager
def _ctrl_c_as_before() -> Iterator[None]:
    """Undoes what PySpark does to Ctrl-C: it asks the JVM for something in the middle of an answer."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _launched(conf: SparkConf, path: Path, is_submitted: bool) -> tuple[Any, SparkContext]:
    """Starts a JVM, whose log goes to a file, and Spark in it.

    Raises:
        UserError: either does not start.
    """
    gateway, reason = None, ""
    with path.open("w") as log:
        try:
            gateway = launch_gateway(conf, {"stdout": log, "stderr": log})
            return gateway, SparkContext(conf=conf, gateway=gateway)
        except Exception as error:
            reason = reason_of(error) if gateway is not None else _told_in(path) or _first_line(str(error))
    if gateway is not None and not is_submitted:
        _end_jvm(gateway)
    raise UserError(f"data/engine=spark: Spark does not start ({reason})")


def _end_jvm(gateway: Any) -> None:
    """Ends the JVM that a gateway leads to, whose heap would stay with the process otherwise."""
    with suppress(Py4JError, OSError):
        gateway.close()
    gateway.proc.stdin.close()  # it ends when no process can write to it
    try:
        gateway.proc.wait(10)
    except subprocess.TimeoutExpired:
        gateway.proc.kill()
        gateway.proc.wait()
    SparkContext._gateway = SparkContext._jvm = None


def _settings(master: str, memory_gb: float, folder: Path, spill: Path) -> dict[str, str]:
    """Returns the settings of a Spark that is started here."""
    log = folder.absolute() / "log4j2.properties"
    log.write_text(QUIET)
    spill.mkdir(parents=True, exist_ok=True)
    found = {
        "spark.master": master,
        "spark.app.name": "towers prepare",
        "spark.driver.memory": f"{int(memory_gb * 1e9 / 2**20)}m",
        JAVA_OPTIONS: f'"-Dlog4j2.configurationFile={log.as_uri()}" "-Djava.io.tmpdir={spill.absolute()}"',
        "spark.sql.warehouse.dir": f"file://{folder.absolute() / 'warehouse'}",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    if master.startswith("local"):  # nothing else needs to reach the driver
        found |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
        found["spark.local.dir"] = str(spill.absolute())  # of a cluster's workers its own settings say it
        found["spark.sql.shuffle.partitions"] = str(LOCAL_PARTITIONS)
    return found


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    if not (home and Path(home, "bin", "java").exists()) and shutil.which("java") is None:
        raise UserError("data/engine=spark needs Java, 17 or later: install it, or set JAVA_HOME to where it is")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _told_in(log: Path) -> str:
    """Returns the first line of the JVM's log that tells of an error."""
    lines = log.read_text(errors="replace").splitlines()
    return next((line.strip() for line in lines if "rror" in line or "xception" in line), "")


def told(ask: Callable[P, R]) -> Callable[P, R]:
    """Makes one line of what Spark raises while a function asks it for something: `failure_of` it."""

    @wraps(ask)
    def asked(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return ask(*arguments, **named)
        except Exception as error:
            failure = failure_of(error)
            if failure is error:
                raise
        # Not while the error is handled, or it would be kept: its text is asked of the JVM, which is gone by then.
        raise failure

    return asked


def failure_of(error: Exception) -> Exception:
    """Returns what to raise for an error.

    That is `Unreadable` where raw data cannot be read to its end, an `OSError` for a full disk, and a `UserError` where
    a job was stopped, the JVM is gone, or another error of Spark about its work. An error that is none of Spark's,
    or one about SQL that it does not take, is what it is.
    """
    if not _is_sparks(error):
        return error
    if isinstance(error, ConnectionError | Py4JNetworkError) or _has_jvm_ended():
        return Unreachable(GONE)
    text = "\n".join(_messages(error))
    if os.strerror(errno.ENOSPC) in text:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if any(sign in text for sign in UNREADABLE):
        return Unreadable(reason_of(error))
    return UserError(f"data/engine=spark: {reason_of(error)}")


def _has_jvm_ended() -> bool:
    process = getattr(SparkContext._gateway, "proc", None)
    return process is not None and process.poll() is not None


def reason_of(error: Exception) -> str:
    """Returns the innermost cause of an error of Spark's, in one line."""
    return _first_line(_messages(error)[-1]) or type(error).__name__


def _is_sparks(error: Exception) -> bool:
    """Says whether an error comes from Spark at work: not from SQL that it does not take, which is a bug."""

    if isinstance(error, AnalysisException | ParseException):
        return any(sign in str(error) for sign in UNREADABLE)
    return isinstance(error, Py4JError | PySparkException | ConnectionError)


def _messages(error: Exception) -> list[str]:
    """Returns what an error and its causes in the JVM say, from the outermost to the innermost."""
    found = [str(error)]
    cause = getattr(error, "_origin", None) or getattr(error, "java_exception", None)
    try:
        while cause is not None:
            found.append(f"{cause.getClass().getSimpleName()}: {cause.getMessage()}")
            cause = cause.getCause()
    except Exception:  # the JVM is gone, and cannot be asked any more
        found.append(GONE)
    return found


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
