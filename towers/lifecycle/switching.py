"""Moves readers to another version: engines first, then `current`, which is opened once more."""

from towers.data.store import CURRENT
from towers.errors import Unreachable, UserError
from towers.lifecycle.ledger import Ledger
from towers.lifecycle.opening import opened
from towers.lifecycle.record import Record
from towers.manifest import point_to
from towers.publishing.sinks.sink import NotFilled, Progress, Sink
from towers.retrieval.export import Export


def publish(
    ledger: Ledger,
    sink: Sink,
    export: Export,
    on_progress: Progress,
    *,
    champion: Record | None,
    forced: str | None = None,
) -> tuple[Record, list[str]]:
    """Publishes a version that has passed every gate; must be called while `ledger.alone` is held.

    A kill leaves readers at the former version or at this one; the same call completes the work.

    Args:
        ledger: ledger of the data set, with a record of the version.
        sink: engine that readers query.
        export: the version, opened.
        on_progress: called with the progress of filling an engine.
        champion: record of the version that it was compared with; null: none served.
        forced: reason why it is published although the gate refused it; null: it passed.

    Returns:
        Its record, and lines for people.

    Raises:
        UserError: it is barred or does not open, or an engine refuses.
        Unreachable: another version has been published since the comparison, or an engine does not answer.
    """
    now, record = ledger.settle(), ledger.of_version(export.version)
    nights = {None if of is None else of.night for of in (champion, record)}
    if (None if now is None else now.night) not in nights:
        serves = "nothing" if now is None else now.version
        raise Unreachable(
            f"{export.folder}: is not published, for {serves} serves by now; the same command compares them"
        )
    if barred := ledger.why_barred(export.manifest):
        raise UserError(f"{export.folder}: is not published, for {barred}; current stays")
    opened(export.folder)  # even where the gate was overruled
    if forced is not None and record is not None and not record.is_said_to_serve:
        ledger.remark(record, "forced", forced)
    told = lead_to(ledger, sink, export, on_progress)
    published = ledger.settle("published", forced)
    assert published is not None  # `lead_to` has opened it
    return published, told


def put_right(ledger: Ledger, sink: Sink, on_progress: Progress) -> list[str]:
    """Moves engines to the version that `current` points to, where a kill or a rollback without them left them at
    another; must be called while `ledger.alone` is held.

    Returns:
        Lines for people; none where engines are right already, or none serves yet.

    Raises:
        UserError: an engine refuses, or the served version does not open.
    """
    served, led = ledger.served(), sink.served()
    if served is None or led is None or led == (export := opened(served)).version:
        return []
    return [f"the engine served {led}, which current does not lead to", *lead_to(ledger, sink, export, on_progress)]


def lead_to(ledger: Ledger, sink: Sink, export: Export, on_progress: Progress) -> list[str]:
    """Makes engines and then `current` serve a version, and opens what `current` points to.

    Returns:
        Lines for people about engines.

    Raises:
        UserError: an engine refuses, and `current` stays; or `current` does not point to a version that opens.
    """
    told = []
    try:
        led = sink.serve(export)
    except NotFilled as lack:
        told.append(f"{lack}; it is filled again")
        told.append(sink.fill(export, on_progress))
        led = sink.serve(export)
    told.append(led)
    current = ledger.exports / CURRENT
    point_to(current, export.folder)
    if (found := opened(current)).folder != export.folder:
        raise UserError(f"{current}: leads to {found.folder}, not to {export.folder}; another process has moved it")
    return [line for line in told if line]
