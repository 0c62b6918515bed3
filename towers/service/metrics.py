"""`/metrics`: what a server does and serves, for Prometheus; any of its processes answers for all of them.

A label is a route's template, a method, a status, a version: never a path, an id or what was asked for.
"""

import asyncio
import gzip
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    values,
)
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from towers.errors import UserError
from towers.service.limits import LIMIT
from towers.service.roster import Roster, Served
from towers.service.snapshot import Snapshot

disable_created_metrics()  # a series more for each, which says when this process first counted it

BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Bounds of the histogram in seconds, from a look-up by id to a journey through a large catalogue."""
METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
FILES: Final = {
    "counter": 1 << 20, "histogram": 1 << 21, "gauge_livesum": 1 << 16, "gauge_livemin": 1 << 16, "gauge_max": 1 << 16,
}  # fmt: skip
"""Sizes in bytes of the files in which one of several processes counts: room for every method of every route."""
UNKNOWN: Final = "unknown"
"""Label of paths without a route, and of methods beyond `METHODS`."""


class Metrics:
    """Counters of a server, and the answer of `/metrics`.

    Args:
        roster: roster of this server's processes. If it has a folder, the library was imported with
            `PROMETHEUS_MULTIPROC_DIR` set to it and keeps its values there, too. Otherwise that variable, if set,
            belongs to another program and is ignored.

    Raises:
        UserError: the folder has no room for the counters.
    """

    def __init__(self, roster: Roster):
        self._roster = roster
        if roster.folder is None:
            values.ValueClass = values.MutexValue
        else:
            _make_room(roster.folder)
        own = CollectorRegistry()
        self.requests = Counter(
            "towers_server_requests", "Requests that were answered.", ("method", "route", "status"), registry=own
        )
        self.seconds = Histogram(
            "towers_server_request_duration_seconds", "From a request to the end of its answer.", ("method", "route"),
            registry=own, buckets=BUCKETS,
        )  # fmt: skip
        self.in_flight = Gauge(
            "towers_server_requests_in_flight", "Requests that are being answered.",
            registry=own, multiprocess_mode="livesum",
        )  # fmt: skip
        self.refused = Counter(
            "towers_server_refused", "Requests that were refused by one of the limits.", ("limit",), registry=own
        )
        self.swaps = Counter(
            "towers_server_swaps", "Changes of a process to another version; each process counts.", registry=own
        )
        self.refused_versions = Counter(
            "towers_server_refused_versions", "Versions that a process did not open.", registry=own
        )
        self.last_look = Gauge(
            "towers_server_last_look_timestamp_seconds", "Last look at what the link points to.",
            registry=own, multiprocess_mode="livemin",
        )  # fmt: skip
        self.looked()  # as it was opened
        self.last_swap = Gauge(
            "towers_server_last_swap_timestamp_seconds", "Last change to another version; 0 before the first.",
            registry=own, multiprocess_mode="max",
        )  # fmt: skip
        self._registry = own
        if roster.folder is not None:
            self._registry = CollectorRegistry()
            MultiProcessCollector(self._registry, str(roster.folder))
        self._registry.register(_OfServed(roster))
        self._registry.register(_OfProcesses(roster))

    def swapped(self, _: Snapshot) -> None:
        """Counts a swap."""
        self.swaps.inc()
        self.last_swap.set(time.time())

    def refused_version(self) -> None:
        """Counts a version that was not opened."""
        self.refused_versions.inc()

    def looked(self) -> None:
        """Notes a look at the link."""
        self.last_look.set(time.time())

    async def answer(self, request: Request) -> Response:
        """Answers a scrape: in OpenMetrics where it asks for that, else as text."""
        encoder, content_type = choose_encoder(request.headers.get("accept", ""))
        body = await asyncio.to_thread(encoder, self._registry)  # not of the requests' threads, which may all be taken
        headers = {"content-type": content_type}
        if gzip_accepted(request.headers.get("accept-encoding", "")):
            body, headers["content-encoding"] = gzip.compress(body, compresslevel=1), "gzip"
        return Response(body, headers=headers)


def _make_room(folder: Path) -> None:
    """Allocates this process' files on the disk. The library maps them into memory, and a process that writes to a
    mapped page for which the disk has no room is killed (SIGBUS)."""
    for name, size_bytes in FILES.items():
        path = folder / f"{name}_{os.getpid()}.db"
        try:
            with path.open("ab") as file:
                file.write(bytes(max(size_bytes - file.tell(), 0)))
        except OSError as error:
            raise UserError(
                f"{folder}: {error.strerror}; what is counted for /metrics needs {sum(FILES.values()) / 1e6:.1f} MB "
                "there for each of workers; make room, set TMPDIR, or metrics=false"
            ) from None


def strike(process: int, folder: Path) -> None:
    """Removes the live gauges of a process that has ended, and cuts the files of its counters to their used size.

    Args:
        process: process id.
        folder: folder of the roster.
    """
    mark_process_dead(process, str(folder))
    for path in folder.glob(f"*_{process}.db"):
        with path.open("rb") as file:
            used = int.from_bytes(file.read(4), "little")  # as the library notes it in front
        if used > 0:
            os.truncate(path, used)


class Measured:
    """Counts and times each request.

    Args:
        app: the application that answers.
        metrics: the counters.
        routes: routes of the application.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: Sequence[BaseRoute]):
        self._app, self._metrics, self._routes = app, metrics, routes
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection, which is the interface of an ASGI application; counts and times a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500  # of an error before an answer has begun, and of one that breaks it off

        async def send_with_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        in_flight, root, started = self._metrics.in_flight, scope.get("root_path", ""), time.perf_counter()
        in_flight.inc()
        try:
            await self._app(scope, receive, send_with_status)
        except BaseException:
            status = 500
            raise
        finally:
            in_flight.dec()
            self._count(scope, root, status, time.perf_counter() - started)

    def _count(self, scope: Scope, root: str, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else UNKNOWN
        key = method, self._template_of(scope, root), status
        found = self._children.get(key)
        if found is None:
            metrics = self._metrics
            found = metrics.requests.labels(*key), metrics.seconds.labels(*key[:2])
            self._children[key] = found
        requests, histogram = found
        requests.inc()
        histogram.observe(seconds)
        if scope.get(LIMIT) is not None:
            self._metrics.refused.labels(scope[LIMIT]).inc()

    def _template_of(self, scope: Scope, root: str) -> str:
        """Returns the template of a request's path, such as `/audio/{content_id}`.

        A request that was refused at the edge, or that asked for a static file, has no route in its scope and is
        matched here. A mount changes the scope's root path, so `root` is the one from before.
        """
        route = scope.get("route")
        if route is None:
            asked = {**scope, "root_path": root}
            route = next((each for each in self._routes if each.matches(asked)[0] is not Match.NONE), None)
        return getattr(route, "path", UNKNOWN)


class _OfServed(Collector):
    """Collects facts about the served versions at the time of a scrape."""

    def __init__(self, roster: Roster):
        self._roster = roster

    def collect(self) -> Iterable[Metric]:
        """Yields the metrics of a scrape; prometheus_client calls it."""
        served = [each for each, _ in self._roster.processes().values()]
        workers = GaugeMetricFamily(
            "towers_server_workers", "Processes that serve a version; two while they change to another.",
            labels=("version", "space_id", "format", "towers"),
        )  # fmt: skip
        numbers: dict[tuple[str, str, str, str], int] = {}
        for each in served:
            labels = each.version, each.space_id, str(each.format), each.towers
            numbers[labels] = numbers.get(labels, 0) + 1
        for labels, number in sorted(numbers.items()):
            workers.add_metric(labels, number)
        yield workers
        newest = {each.version: each for each in sorted(served, key=lambda each: each.opened_s)}
        now = time.time()
        yield _by_version("data_end_timestamp_seconds", "Last event that a version knows.", newest, "data_end_s")
        ages = {name: now - each.data_end_s for name, each in newest.items() if each.data_end_s is not None}
        age = GaugeMetricFamily("towers_server_data_age_seconds", "Time since that event.", labels=("version",))
        for name, seconds in sorted(ages.items()):
            age.add_metric((name,), seconds)
        yield age
        yield _by_version("opened_timestamp_seconds", "When a process last opened the version.", newest, "opened_s")
        yield _by_version("contents", "Contents of a version.", newest, "contents")
        yield _by_version("listeners", "Listeners of a version.", newest, "listeners")


def _by_version(name: str, told: str, newest: dict[str, Served], field: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"towers_server_{name}", told, labels=("version",))
    for version, served in sorted(newest.items()):
        value = getattr(served, field)
        if value is not None:
            family.add_metric((version,), value)
    return family


class _OfProcesses(Collector):
    """Collects memory, processor time and open files; with several processes, each with the label `pid`."""

    def __init__(self, roster: Roster):
        self._roster = roster

    def collect(self) -> Iterable[Metric]:
        """Yields the metrics of each process; prometheus_client calls it at a scrape."""
        if self._roster.folder is None:
            yield from ProcessCollector(registry=None).collect()
            return
        families: dict[str, Metric] = {}
        for process in sorted(self._roster.processes()):
            for metric in ProcessCollector(pid=lambda number=process: number, registry=None).collect():
                kind = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
                family = families.setdefault(metric.name, kind(metric.name, metric.documentation, labels=("pid",)))
                for sample in metric.samples:
                    family.add_sample(sample.name, {"pid": str(process)}, sample.value)
        yield from families.values()
