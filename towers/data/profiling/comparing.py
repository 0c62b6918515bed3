"""Compares two successive profiles and gives the verdict on the later one."""

from towers.data.profiling import event_rules, table_rules, time_rules
from towers.data.profiling.change import Change
from towers.data.profiling.profile import Profile
from towers.data.profiling.thresholds import Thresholds
from towers.data.profiling.verdict import Finding, Verdict, verdict_of


def judged(before: Profile | None, after: Profile, thresholds: Thresholds, now_us: int) -> Verdict:
    """Judges a profile by the one before it.

    Args:
        before: the profile of the version before; null where there is none, and then only times in the future are
            reported.
        after: the profile that is judged.
        thresholds: limits above which a difference is reported.
        now_us: the present time, in microseconds since 1970, UTC.
    """
    change = Change(before=before or after, after=after, thresholds=thresholds, now_us=now_us)
    if before is None:
        return verdict_of(None, list(time_rules.not_yet(change)) if after.has_clock else [])
    found: list[Finding] = [finding for rule in table_rules.RULES for finding in rule(change)]
    if after.has_clock and before.has_clock:
        found += time_rules.stray_times(change)
    if change.is_known and (change.new_days or change.fresh.events or change.fresh.duplicates):
        found += [finding for rule in (*time_rules.RULES, *event_rules.RULES) for finding in rule(change)]
    return verdict_of(before.store, found)
