"""Shows a profile and its verdict in a few lines of text."""

from collections.abc import Mapping

from towers.data.profiling.profile import UNKNOWN, Profile
from towers.data.profiling.verdict import Verdict

SHOWN = 6


def lines(profile: Profile) -> list[str]:
    """Returns lines about what a store holds, except for what `prepare` prints anyway."""
    found = []
    if profile.days:
        last = profile.days[-1]
        usual = sorted(day.events for day in profile.days[-28:])[len(profile.days[-28:]) // 2]
        found.append(
            f"events        {profile.span[0]} to {profile.span[1]}; {usual:,} a day of late, {last.events:,} on "
            f"{last.date}, of {last.listeners:,} listeners"
        )
    rates = ", ".join(
        f"{value:.1%} {words}"
        for name, words in (("skips", "skipped"), ("repeats", "chosen again"), ("duplicates", "left out as duplicates"))
        if (value := profile.rates[name])
    )
    named = [_shares(profile.actions)]
    if sessions := _sessions(profile):
        named.append(sessions)
    found.append("; ".join(filter(None, ["actions       " + named[0], *named[1:], rates])))
    lacking = [
        f"{part} {shares['contents']:.0%}" for part, shares in profile.lacking.items() if shares["contents"] >= 0.005
    ]
    withdrawn, alone = profile.counts["withdrawn"], profile.counts["by_id_alone"]
    told = [_kinds(profile.contents_by_kind)]
    told += [f"{withdrawn:,} withdrawn"] if withdrawn else []
    told += [f"{alone:,} known by id alone"] if alone else []
    told += [f"without {', '.join(lacking)}"] if lacking else []
    found.append("contents      " + "; ".join(told))
    if profile.top:
        named = [f"{content['title'] or content['content_id']} ({content['events']:,})" for content in profile.top[:5]]
        found.append(f"top contents  {', '.join(named)}")
    return found


def verdict_lines(verdict: Verdict) -> list[str]:
    """Returns a line on the comparison with the version before, and one for each finding; none for a first version
    that has no finding."""
    if verdict.level == "first":
        return []
    if verdict.level == "fine":
        return [f"beside {verdict.compared_with}: nothing unusual"]
    beside = f"beside {verdict.compared_with}" if verdict.compared_with else "by itself"
    return [f"data {beside}: {verdict.level.upper()}"] + [
        f"  {finding.severity} {finding.rule}: {finding.text}" for finding in verdict.findings
    ]


def _shares(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: -item[1])[:SHOWN]
    return ", ".join(f"{name} {number / total:.0%}" for name, number in ranked if name != UNKNOWN)


def _kinds(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {kind}{'s' if number != 1 else ''}" for kind, number in counts.items()) or "none"


def _sessions(profile: Profile) -> str:
    number, each = profile.sessions["number"], profile.sessions["events_each"]
    return f"{number:,} sessions of {each['0.5']:.0f} events in the middle" if number else "sessions unknown"
