"""Tests of the report on a profile compared with the one before.

`benchmarks/data/data_faults.py` plants the same faults into raw data.
"""

from dataclasses import replace

import pytest

from tests.data.profiling.made import START, a_day, a_profile
from towers.data.profiling.comparing import judged
from towers.data.profiling.thresholds import Thresholds
from towers.data.profiling.verdict import Finding, Verdict
from towers.errors import UserError

PAST = 35
MUCH_LATER_US = 4_000_000_000_000_000
DAYS = [a_day(at) for at in range(PAST)]
BEFORE = a_profile(DAYS)


def verdict(*new, days=DAYS, before=BEFORE, now_us=MUCH_LATER_US, **changes):
    after = a_profile([*days, *new])
    counts = {**after.counts, **changes.pop("counts", {})}
    return judged(before, replace(after, counts=counts, **changes), Thresholds(), now_us)


def rules(*new, **changes):
    return {finding.rule: finding.severity for finding in verdict(*new, **changes).findings}


def rolled(day, hours):
    return tuple(day.hours[(hour - hours) % 24] for hour in range(24))


NEXT = a_day(PAST)


def without(name, value):
    kept = {key: number for key, number in getattr(NEXT, name).items() if key != value}
    return replace(NEXT, **{name: kept})


PLANTED = {
    "half": (a_day(PAST, 2_000), {"events_missing": "broken"}),
    "two thirds": (a_day(PAST, 2_800), {"events_missing": "warning"}),
    "twice as many": (a_day(PAST, 8_000), {"events_too_many": "broken"}),
    "no skip": (without("actions", "skip"), "action_gone"),
    "no episode": (without("kinds", "episode"), {"kind_gone": "broken"}),
    "no radio": (without("contexts", "radio"), "context_gone"),
    "no car": (without("devices", "car"), "device_gone"),
    "an hour late": (replace(NEXT, hours=rolled(NEXT, 1)), {"clocks_shifted": "broken"}),
    "six hours early": (replace(NEXT, hours=rolled(NEXT, -6)), {"clocks_shifted": "broken"}),
    "to the letter": (replace(NEXT, duplicates=4_000), {"sent_twice": "broken"}),
    "a moment apart": (replace(NEXT, at_once=400), {"sent_twice": "warning"}),
    "yesterday": (replace(NEXT, as_day_before=0.9), {"day_once_more": "broken"}),
    "skipped": (replace(NEXT, actions={"play": 1_200, "skip": 2_520, "like": 200, "dislike": 80}), "skip_rate"),
    "never again": (replace(NEXT, repeats=500), {"repeat_rate": "broken"}),
    "plays without an end": (replace(NEXT, long_plays=1_200), {"long_play_rate": "broken"}),
    "strangers": (replace(NEXT, new_listeners=380), {"new_listeners": "broken"}),
    "unlisted": (replace(NEXT, unlisted=2_000), {"unlisted_events": "broken"}),
}


class TestDays:
    def test_nothing_is_told_of_a_usual_day(self):
        assert verdict(NEXT).level == "fine"

    def test_nothing_is_told_of_what_chance_makes(self):
        drawn = [a_day(at, seed=at) for at in range(60)]
        told = [judged(a_profile(drawn[:at]), a_profile(drawn[: at + 1]), Thresholds(), MUCH_LATER_US).findings
                for at in range(40, 60)]  # fmt: skip
        assert [findings for findings in told if findings] == []

    @pytest.mark.parametrize("name", PLANTED)
    def test_a_fault_is_found(self, name):
        day, expected = PLANTED[name]
        found = rules(day)
        assert expected in found if isinstance(expected, str) else found == expected

    def test_a_day_without_an_event(self):
        assert rules(a_day(PAST, 0), a_day(PAST + 1)) == {"day_empty": "broken"}

    def test_a_day_that_ends_early_or_is_not_over(self):
        hours = tuple(events if hour < 14 else 0 for hour, events in enumerate(NEXT.hours))
        short = replace(a_day(PAST, sum(hours)), hours=hours, repeats=round(0.36 * sum(hours)))
        assert rules(short) == {"day_ends_early": "warning"}
        in_that_day_us = (START.toordinal() - 719_163 + PAST) * 86_400_000_000 + 50_000_000_000
        assert rules(short, now_us=in_that_day_us) == {}

    def test_the_same_weekday_is_what_a_day_is_held_against(self):
        weekly = [a_day(at, 1_000 if at % 7 == 6 else 4_000) for at in range(PAST)]
        sunday = a_day(41, 1_000)
        rest = [*weekly, *(a_day(at) for at in range(PAST, 41))]
        assert rules(sunday, days=rest, before=a_profile(rest)) == {}
        assert "events_missing" in rules(a_day(41, 400), days=rest, before=a_profile(rest))

    def test_too_few_days_of_before_say_nothing(self):
        few = [a_day(at) for at in range(5)]
        assert rules(a_day(5, 100), days=few, before=a_profile(few)) == {}

    def test_days_that_have_not_begun(self):
        assert rules(NEXT, now_us=1) == {"future_times": "broken"}
        first = judged(None, BEFORE, Thresholds(), 1)
        assert [finding.rule for finding in first.findings] == ["future_times"]

    def test_times_far_after_the_others(self):
        assert rules(NEXT, counts={"events_later": 5}) == {"future_times": "warning"}
        assert rules(NEXT, counts={"events_later": 400}) == {"future_times": "broken"}

    def test_many_late_events(self):
        more = [*DAYS[:20], a_day(20, 8_000), *DAYS[21:]]
        assert rules(NEXT, days=more) == {"late_events": "warning"}

    def test_many_more_on_the_last_day_of_before(self):
        more = [*DAYS[:-1], a_day(PAST - 1, 8_000)]
        assert rules(days=more) == {"events_too_many": "broken"}
        assert rules(NEXT, days=more, before=a_profile(more)) == {}
        late = [*DAYS[:-1], a_day(PAST - 1, 8_100)]
        assert rules(NEXT, days=late, before=a_profile(more)) == {}

    def test_a_past_that_has_moved(self):
        uneven = [a_day(at, 4_000 + 100 * (at * at % 7)) for at in range(PAST)]
        before, start = a_profile(uneven), uneven[0].date

        def told(first_day, **changes):
            after = a_profile([*uneven, NEXT], first_day=first_day, **changes)
            return judged(before, after, Thresholds(), MUCH_LATER_US)

        assert told(start).level == "fine"
        found = {each.rule: each for each in told("2026-01-06").findings}
        assert found["clocks_shifted"].severity == "broken"
        assert "all events of before are 1 d later" in found["clocks_shifted"].text
        assert {each.rule: each for each in told("2026-01-02").findings}["clocks_shifted"].figures["days"] == -3
        assert told("2026-01-06", settings="others").level == "fine"

    def test_a_file_that_came_again(self):
        again = [*DAYS[:-1], replace(DAYS[-1], duplicates=4_000)]
        assert (
            rules(NEXT, days=[*again[:-2], replace(again[-2], duplicates=4_000), again[-1]])["day_once_more"]
            == "broken"
        )
        assert rules(days=again, store="other") == {"day_once_more": "broken", "nothing_new": "warning"}


class TestTables:
    def test_nothing_came(self):
        assert rules(store="other") == {"nothing_new": "warning"}
        assert rules(store="other", settings="others") == {}

    def test_fewer_contents(self):
        assert rules(NEXT, counts={"listed": 170}) == {"shrunk": "warning"}
        assert rules(NEXT, contents_by_kind={"track": 180}) == {"shrunk": "broken"}

    def test_other_ids(self):
        ids, others = "0123456789abcdef" * 8, "f0123456789abcde" * 8

        def signed(contents, users, titles):
            return {"contents": contents, "users": users, "titles": titles}

        before = a_profile(DAYS, signatures=signed(ids, ids, ids))
        for told, now in {
            "content_ids_reissued": signed(others, ids, others),
            "user_ids_reissued": signed(ids, others, ids),
            "content_ids_rebound": signed(ids, ids, others),
        }.items():
            assert rules(NEXT, before=before, signatures=now) == {told: "broken"}
        assert rules(NEXT, before=before, signatures=signed(ids, ids, ids)) == {}

    def test_sound_and_titles_lost(self):
        half = {"title": {"contents": 0.5, "events": 0.5}, "sound": {"contents": 0.2, "events": 0.1}}
        assert rules(NEXT, lacking=half) == {"metadata_gone": "broken", "sound_gone": "warning"}
        assert rules(NEXT, lacking={"title": half["sound"]}) == {"metadata_gone": "warning", "sound_gone": "broken"}

    def test_rows_left_out(self):
        total = 4_000 * (PAST + 1)
        share = 1_000 / (total + 1_000)
        assert rules(NEXT, rejected_share={"events": share}) == {"rows_rejected": "broken"}
        assert rules(NEXT, rejected_share={"contents": 0.05}) == {"rows_rejected": "warning"}


def test_a_verdict_is_json_with_the_gravest_first():
    told = verdict(replace(without("devices", "car"), at_once=400))
    assert (told.level, told.findings[0].severity) == ("broken", "broken")
    assert told.findings[-1].severity == "warning"
    written = told.to_json()
    assert written["level"] == "broken"
    assert Verdict.from_json(written, "here") == told
    with pytest.raises(UserError, match="no verdict"):
        Verdict.from_json({"findings": [{"rule": "x"}]}, "here")
    assert Verdict(compared_with=None, findings=()).level == "first"
    assert Finding(**written["findings"][0]) == told.findings[0]


@pytest.mark.parametrize("wrong", [{"missing": (0.4, 0.2)}, {"twice": (-0.1, 0.2)}, {"sigmas": -1.0}])
def test_thresholds_that_cannot_be(wrong):
    with pytest.raises(UserError, match=rf"profiling\.{next(iter(wrong))}="):
        Thresholds(**wrong)
