"""Every rule: evidence that it passes, evidence that it refuses by its name, and evidence that it does not apply to."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
from omegaconf import OmegaConf

from tests.lifecycle.gate.small_night import (
    DAYS,
    DRIFT,
    HONEST,
    MANIFEST,
    METRIC,
    WINDOW,
    evaluation,
    first_night,
    night,
    some,
    twin,
)
from towers.config.instantiate import instantiate
from towers.config.keys import CONFIG_DIR
from towers.data.profiling.verdict import Finding
from towers.data.profiling.verdict import Verdict as DataVerdict
from towers.evaluation.checks.honesty import Check
from towers.evaluation.ranking.rankers import Ranked
from towers.lifecycle.gate.evidence import Canaries, Judged, Reached
from towers.lifecycle.gate.gate import judge
from towers.lifecycle.gate.rules.baselines import Beats


def configured():
    """The rules of the default configuration."""
    config = OmegaConf.create(
        {name: OmegaConf.load(f"{CONFIG_DIR}/{name}/default.yaml") for name in ("gate", "evaluation")}
    )
    return {str(name): instantiate(node, f"gate.rules.{name}") for name, node in config.gate.rules.items()}


RULES = configured()


def changed(judged: Judged, **parts) -> Judged:
    """Returns the twin with another evaluation."""
    return replace(judged, evaluation=replace(judged.evaluation, **parts))


def of_export(**changes):
    return night(exported=replace(night().exported, **changes))


def without_hits(value=np.nan):
    values = some()
    values[3] = value
    return values


GOOD = some()
WORSE = twin(GOOD * 0.8)
WITH_COLD = {"cold_content": some(1), "track": some(2), "episode": some(3), "history__0": some(4)}


def lost(part):
    """Returns twins of which tonight's has lost a third of one part."""
    return night(twin(GOOD, **WITH_COLD | {part: WITH_COLD[part] * 0.67}), twin(GOOD, "champion", **WITH_COLD))


SEEN = Check(name="trained before test", passed=False, detail="until 2026-07-20; test begins 2026-07-14")
UNKNOWN = Check(name="trained before test", passed=None, detail="not known")
BROKEN = Finding(rule="missing", severity="broken", text="half of the events are missing", figures={})
EMPTY = Finding(rule="nothing_new", severity="warning", text="no event came", figures={})
SCORES = {"unseen": Ranked(rows=np.zeros((1, 1), np.int32), scores=np.full((1, 1), np.nan))}
REFUSED = {
    "a refit that has learnt nothing": ("refit", night(refit=twin(0.9 * GOOD)), "before it was trained on the window"),
    "a refit that was not measured": ("refit", night(refit=None), "not measured"),
    "other store": ("same_window", night(champion=replace(twin(GOOD), window=replace(WINDOW, store="0ther"))), "store"),
    "other candidates": (
        "same_window", night(champion=replace(twin(GOOD), window=replace(WINDOW, candidates="x"))), "candidates",
    ),
    "other listeners": ("same_window", night(champion=changed(twin(GOOD), user_rows=np.arange(400) + 1)), "listeners"),
    "a baseline elsewhere": (
        "same_window", night(baselines={"popularity": evaluation(some(size=300), name="popularity")}), "popularity",
    ),
    "nobody": ("same_window", night(twin([]), twin([]), reached=None), "no listener"),
    "seen by the challenger": ("unseen_window", night(replace(twin(GOOD), trained_before=SEEN)), "tonight"),
    "seen by the champion": (
        "unseen_window", night(champion=replace(twin(GOOD, "champion"), trained_before=SEEN)), "champion",
    ),
    "seen, perhaps": ("unseen_window", night(champion=replace(twin(GOOD), trained_before=UNKNOWN)), "not known"),
    "unchecked": ("honest", night(replace(twin(GOOD), checks=None)), "not checked"),
    "a failed check": (
        "honest", night(replace(twin(GOOD), checks=(*HONEST, replace(SEEN, name="the future")))), "the future",
    ),
    "no number": ("finite", night(twin(without_hits())), "1 listeners is no number"),
    "no score": ("finite", night(changed(twin(GOOD), lists=SCORES)), "scores of the lists"),
    "no catalogue figure": ("finite", night(twin(GOOD, coverage=np.nan)), "coverage@20/discovery"),
    "no profile": ("data_profile", night(data=None), "has no verdict"),
    "broken data": ("data_profile", night(data=DataVerdict(compared_with="a", findings=(BROKEN,))), "missing"),
    "an empty day": ("data_profile", night(data=DataVerdict(compared_with="a", findings=(EMPTY,))), "no event came"),
    "not reproduced": (
        "champion_reproduces", night(reached=replace(night().reached, mean=0.8)), "0.8000 when it was judged",
    ),
    "nothing to reproduce": ("champion_reproduces", night(reached=None), "not known"),
    "another newest day": (
        "newest_day", night(champion=twin(GOOD, day__1=GOOD, day__2=GOOD, day__3=GOOD * 0.5)), "days before 0.39",
    ),
    "not divided by days": ("newest_day", night(champion=twin(GOOD)), "evaluation.slicings.day"),
    "too good": ("too_good", night(twin(GOOD * 1.5)), "opened wrongly"),
    "a champion without a hit": ("too_good", night(champion=twin(0 * GOOD)), "opened wrongly"),
    "worse": ("main_metric", night(WORSE), "margin"),
    "no listeners": ("main_metric", night(twin(GOOD[:5]), twin(GOOD[:5]), reached=None), "too few listeners"),
    "worse on cold": ("cold_content", lost("cold_content"), "cold_content"),
    "worse on a kind": ("kinds", lost("episode"), "recall@20/episode"),
    "worse for a segment": ("segments", lost("history__0"), "history:0"),
    "fewer contents shown": ("coverage", night(twin(GOOD, coverage=0.4)), "0.80 of it"),
    "no coverage": ("coverage", night(changed(twin(GOOD), catalogue={})), "no figure"),
    "more popular": ("popularity_bias", night(twin(GOOD, bias=2.5)), "1.25 of it"),
    "below popularity": (
        "beats_popularity", night(baselines={"popularity": evaluation(some(mean=0.6))}), "against 0.59",
    ),
    "no popularity": ("beats_popularity", night(baselines={}), "evaluation.baselines.popularity"),
    "below yesterday": (
        "beats_yesterday", night(baselines={"most played yesterday": evaluation(some(mean=0.6))}), "against 0.59",
    ),
    "below own most-played": (
        "beats_own_most_played",
        night(
            replace(twin(GOOD), by_chance=evaluation(GOOD)), baselines={"own most-played": evaluation(some(mean=0.6))}
        ),
        "against 0.59",
    ),
    "contents have moved": (
        "drift", of_export(drift={"drift": {"neighbour_overlap": 0.1, "cosine_after_map": 0.9}}), "10%",
    ),
    "the space is turned": (
        "drift", of_export(drift={"drift": {"neighbour_overlap": 0.9, "cosine_after_map": 0.1}}), "0.100",
    ),
    "no map": ("drift", of_export(drift={"reason": "other dimensions"}), "other dimensions"),
    "not aligned": ("drift", of_export(drift=None), "export.align_to"),
    "half the contents": ("counts", of_export(manifest={"counts": {"users": 1000, "contents": 250}}), "250 contents"),
    "no listeners left": ("counts", of_export(manifest={"counts": {"users": 0, "contents": 500}}), "no users"),
    "contents vanished": ("vanished", of_export(vanished={"contents": 0.2, "listeners": 0.0}), "20.0% of the contents"),
    "unknown who vanished": ("vanished", of_export(vanished=None), "facts lack contents"),
    "a long vector": ("norms", of_export(norms=(1.0, 1.1)), "1.1"),
    "no vector": ("norms", of_export(norms=(np.nan, np.nan)), "nan"),
    "unmeasured": ("norms", of_export(norms=None), "not measured"),
    "the index misses": ("index_recall", of_export(manifest=MANIFEST | {"index_recall@10": 0.5}), "0.500"),
    "no recall": ("index_recall", of_export(manifest={}), "index_recall@10"),
    "another tower": (
        "onnx_parity", of_export(manifest={"towers": {"user_tower.onnx": {"difference": 0.1}}}), "user_tower.onnx",
    ),
    "a tower of no numbers": (
        "onnx_parity", of_export(manifest={"towers": {"user_tower.onnx": {"difference": np.nan}}}), "nan",
    ),
    "no tower": ("onnx_parity", of_export(manifest={"towers": {}}), "user_tower.onnx"),
    "no export": ("norms", night(exported=None), "nothing is known of the export"),
    "a failed request": ("canaries", night(canaries=Canaries(asked=50, failed=1, overlap=0.9)), "1 of 50"),
    "a broken limit": ("canaries", night(canaries=Canaries(asked=50, failed=0, overlap=0.1, faults=("low",))), "low"),
    "nothing asked": ("canaries", night(canaries=Canaries(asked=0, failed=0, overlap=0.9)), "0 canary requests"),
    "not asked": ("canaries", night(canaries=None), "no canary request"),
    "not compared": ("canaries", night(canaries=Canaries(asked=50, failed=0)), "the champion was not sent"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case):
    rule, evidence, words = REFUSED[case]
    outcome = judge(evidence, {rule: RULES[rule]}).outcomes[0]
    assert (outcome.rule, outcome.status) == (rule, "refused"), outcome.words
    assert words in outcome.words


def test_every_rule_has_been_refused():
    assert {rule for rule, _, _ in REFUSED.values()} == set(RULES)


def test_baselines_bear_the_names_that_rules_ask_for():
    nodes = OmegaConf.load(f"{CONFIG_DIR}/evaluation/default.yaml").baselines
    asked = [rule for rule in RULES.values() if isinstance(rule, Beats)]
    assert len(asked) == 3
    for rule in asked:
        module, _, name = nodes[rule.node]["_target_"].rpartition(".")
        assert getattr(importlib.import_module(module), name).name == rule.baseline


def test_a_good_night_passes_every_rule():
    good = twin(GOOD, **WITH_COLD, **DAYS)
    by_chance = replace(good, by_chance=evaluation(GOOD))
    verdict = judge(night(by_chance, replace(by_chance, name="champion")), RULES)
    assert {outcome.rule: outcome.status for outcome in verdict.outcomes} == dict.fromkeys(RULES, "passed")


def test_the_first_night_passes_without_a_champion():
    verdict = judge(first_night(challenger=twin(GOOD, **DAYS)), RULES)
    assert not verdict.refused
    left = {outcome.rule for outcome in verdict.outcomes if outcome.status == "does not apply"}
    need_a_champion = {
        "champion_reproduces",
        "too_good",
        "main_metric",
        "cold_content",
        "kinds",
        "segments",
        "coverage",
    }
    assert need_a_champion | {"popularity_bias", "drift", "counts", "vanished", "beats_own_most_played"} == left


def test_a_lost_champion_is_not_a_first_night():
    lost_champion = replace(night(), champion=None)
    refused = {outcome.rule for outcome in judge(lost_champion, RULES).refused}
    assert {"main_metric", "cold_content", "kinds", "segments", "coverage", "too_good", "same_window"} <= refused


def test_what_no_night_has_judged_is_not_held_to_a_figure():
    adopted = night(reached=None, is_adopted=True)
    assert judge(adopted, {"champion_reproduces": RULES["champion_reproduces"]}).outcomes[0].status == "does not apply"


@pytest.mark.parametrize("rule", ["beats_yesterday", "newest_day"])
def test_days_need_a_clock(rule):
    clockless = replace(twin(GOOD), window=replace(WINDOW, start_us=None))
    outcome = judge(night(clockless, clockless, baselines={}), {rule: RULES[rule]}).outcomes[0]
    assert outcome.status == "does not apply"
    assert "no times" in outcome.words


def test_parts_with_few_listeners_are_left_out():
    """Twenty listeners of a segment lose half, and are too few for a judgement; the other segment is judged."""
    parts = {"history__0": some(4, size=20), "history__1": some(5)}
    worse = parts | {"history__0": parts["history__0"] * 0.5}
    outcome = judge(night(twin(GOOD, **worse), twin(GOOD, **parts)), {"segments": RULES["segments"]}).outcomes[0]
    assert outcome.status == "passed"
    assert list(outcome.figures) == [f"{METRIC}/history:1"]


def test_by_chance_decides_on_all_targets():
    """Inner products fell, but lists are made by the chance of a listen, which counts on all targets."""
    first = replace(twin(GOOD * 0.5), by_chance=evaluation(GOOD))
    second = replace(twin(GOOD, "champion"), by_chance=evaluation(GOOD))
    whole = RULES["main_metric"]
    on_all = replace(whole, seed_noise={"all": 0.01, "discovery": None})
    assert judge(night(first, second), {"main_metric": on_all}).passed
    assert judge(night(first, second), {"main_metric": whole}).refused  # on discovery they are seen


def test_what_was_reached_is_looked_up_again():
    assert Reached.of(twin(GOOD), METRIC).mean == pytest.approx(GOOD.mean())
    assert Reached.of(twin(GOOD), METRIC).error == pytest.approx(GOOD.std(ddof=1) / 20)
    assert Reached.of(replace(twin(GOOD), by_chance=evaluation(GOOD / 2)), METRIC).mean == pytest.approx(
        GOOD.mean() / 2
    )


def test_the_export_of_another_kind_is_named():
    drift = DRIFT | {"keeps_space": False, "reason": "old listeners find too little"}
    outcome = judge(of_export(drift=drift), {"drift": RULES["drift"]}).outcomes[0]
    assert outcome.status == "passed"
    assert "changed (old listeners find too little)" in outcome.words


@pytest.mark.parametrize(
    ("rule", "setting"),
    [("main_metric", {"rate": 0.7}), ("main_metric", {"margin": -1.0}), ("coverage", {"least": None}),
     ("main_metric", {"seed_noise": {"all": None}}), ("main_metric", {"max_margin": 0.0}),
     ("main_metric", {"seed_noise": {"all": -0.1}}),
     ("too_good", {"max_gain": 0.0}), ("champion_reproduces", {"days": -0.1}), ("segments", {"least_listeners": 0})],
)  # fmt: skip
def test_settings_that_cannot_be(rule, setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        replace(RULES[rule], **setting)
