"""Rules on what a store knows of contents and listeners, and on the rows that were left out."""

from collections.abc import Iterator

from towers.data.profiling.change import Change
from towers.data.profiling.signatures import deviation, overlap
from towers.data.profiling.verdict import Finding, graver

TABLES = {"listed": "contents that are listed", "users": "listeners", "events": "events"}


def nothing_new(change: Change) -> Iterator[Finding]:
    """Yields a finding where raw data has changed but no event has come, the settings being the same."""
    if not change.after.has_clock or not change.is_same_way or change.before.store == change.after.store:
        return
    if not change.new_days and change.after.counts["events"] == change.before.counts["events"]:
        yield Finding(
            rule="nothing_new",
            severity="warning",
            text=f"no event came since the last prepare; the last day is {change.after.last_day}",
            figures={"last_day": change.after.last_day},
        )


def shrunk(change: Change) -> Iterator[Finding]:
    """Yields contents, kinds of contents, listeners and past events of which many have disappeared."""
    if not change.is_same_way:
        return
    before, after = change.before, change.after
    pairs = {words: (before.counts[name], after.counts[name]) for name, words in TABLES.items()}
    pairs |= {
        f"contents of the kind {kind!r}": (number, after.contents_by_kind.get(kind, 0))
        for kind, number in before.contents_by_kind.items()
    }
    for words, (old, new) in pairs.items():
        if old >= change.thresholds.min_expected and (severity := graver(1 - new / old, change.thresholds.shrunk)):
            yield Finding(
                rule="shrunk",
                severity=severity,
                text=f"{new:,} {words} where {old:,} were, {1 - new / old:.0%} fewer",
                figures={"what": words, "before": old, "after": new},
            )


def reissued(change: Change) -> Iterator[Finding]:
    """Yields sets of ids that have been replaced, and ids of contents that now belong to other titles."""
    limits, before, after = change.thresholds, change.before, change.after
    for name, count, words in (("contents", "listed", "contents"), ("users", "users", "listeners")):
        found = overlap(before.signatures[name], after.signatures[name])
        sizes = sorted((max(before.counts[count], 1), max(after.counts[count], 1)))
        expected = sizes[0] / sizes[1]
        if found is None or found + limits.sigmas * deviation(expected) >= expected:
            continue
        if severity := graver(1 - found / expected, limits.reissued):
            yield Finding(
                rule=f"{'content' if name == 'contents' else 'user'}_ids_reissued",
                severity=severity,
                text=f"about {1 - found / expected:.0%} of the ids of {words} are others than before; were they issued "
                "anew? What was learnt of the old ones is lost with them",
                figures={"overlap": found, "expected": expected},
            )
    ids = overlap(before.signatures["contents"], after.signatures["contents"])
    titles = overlap(before.signatures["titles"], after.signatures["titles"])
    if ids is None or titles is None or titles + limits.sigmas * deviation(ids) >= ids:
        return
    if severity := graver(1 - titles / max(ids, 1e-9), limits.reissued):
        yield Finding(
            rule="content_ids_rebound",
            severity=severity,
            text=f"about {1 - titles / ids:.0%} of the ids of contents have another title or artist than before; were "
            "ids given to other contents?",
            figures={"overlap_of_ids": ids, "overlap_of_titles": titles},
        )


def lacking(change: Change) -> Iterator[Finding]:
    """Yields parts of the metadata, and sound, that many contents had and no longer have."""
    for part, shares in change.after.lacking.items():
        old = change.before.lacking.get(part)
        if old is None:
            continue
        new, was = shares["contents"], old["contents"]
        if severity := graver(new - was, change.thresholds.lacking):
            yield Finding(
                rule="sound_gone" if part == "sound" else "metadata_gone",
                severity=severity,
                text=f"{new:.0%} of the listed contents have no {part}, {was:.0%} had none before",
                figures={"part": part, "share": new, "usual": was},
            )
    if "sound" in change.before.lacking and "sound" not in change.after.lacking and change.is_same_way:
        yield Finding(
            rule="sound_gone",
            severity="broken",
            text="no content has a sound any more",
            figures={"part": "sound", "share": 1.0, "usual": change.before.lacking["sound"]["contents"]},
        )


def rejected(change: Change) -> Iterator[Finding]:
    """Yields tables with a larger share of faulty rows than before."""
    for table, share in change.after.rejected_share.items():
        usual = change.before.rejected_share.get(table, 0.0)
        kept = {"events": "events", "contents": "contents", "users": "users"}.get(table)
        if kept == "events":  # earlier days would dilute the share among new ones
            new = max(change.after.counts["events"] - change.before.counts["events"], 0)
            faulty = _faulty(change.after.counts["events"], share) - _faulty(change.before.counts["events"], usual)
            share = faulty / max(new + faulty, 1)
            if faulty < change.thresholds.min_expected:
                continue
        if severity := graver(share - usual, change.thresholds.rejected):
            reasons = change.after.rejected.get(table, {})
            first = next(iter(reasons), "")
            yield Finding(
                rule="rows_rejected",
                severity=severity,
                text=f"{share:.1%} of the rows of {table}/ are left out, {usual:.2%} were before; the most frequent "
                f"reason is: {' '.join(first.split())}",
                figures={"table": table, "share": share, "usual": usual},
            )


RULES = (nothing_new, shrunk, reissued, lacking, rejected)


def _faulty(kept: int, share: float) -> float:
    return kept * share / (1 - share) if share < 1 else float(kept)
