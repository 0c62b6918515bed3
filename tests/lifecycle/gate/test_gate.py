"""The verdict: stages, force, lines, JSON, and that no NaN passes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lifecycle.gate.small_night import METRIC, evaluation, first_night, night, some, twin
from tests.lifecycle.gate.test_rules import RULES, WORSE
from tests.retrieval.small_export import content, small_export
from towers.data.profiling.verdict import Finding
from towers.data.profiling.verdict import Verdict as DataVerdict
from towers.errors import UserError
from towers.lifecycle.gate.evidence import Evidence
from towers.lifecycle.gate.facts import facts_of, norms_of
from towers.lifecycle.gate.gate import judge
from towers.lifecycle.gate.verdict import Outcome, force_of

OF_EXPORT = ("refit", "drift", "counts", "vanished", "norms", "index_recall", "onnx_parity")


def test_stages():
    """Rules of a later stage are not judged yet; at their stage a missing result refuses."""
    early = replace(night(), exported=None, canaries=None, refit=None)
    for stage, not_yet in (("twins", {*OF_EXPORT, "canaries"}), ("export", {"canaries"}), ("served", set())):
        verdict = judge(replace(early, stage=stage), RULES)
        assert {outcome.rule for outcome in verdict.outcomes if outcome.status == "not yet"} == not_yet
        assert {outcome.rule for outcome in verdict.refused} == {*OF_EXPORT, "canaries"} - not_yet


def test_a_rule_is_switched_off_by_null():
    assert judge(night(WORSE), RULES).rules == "main_metric"
    assert judge(night(WORSE), RULES | {"main_metric": None}).passed


def test_lines_name_the_rule_its_figures_and_what_shows_more():
    verdict = judge(night(WORSE), RULES)
    first, *_, last = verdict.lines()
    assert first.startswith("refused")
    assert "main_metric: recall@20 " in first
    assert " to " in first
    assert last == "more: towers evaluate compare=[runs/a,runs/b]"
    assert any("smallest loss" in line for line in verdict.lines())
    assert len(verdict.lines(is_full=True)) > len(RULES)


def test_force_needs_a_reason_and_is_kept():
    assert force_of(False, None) is None
    for why in (None, " "):
        with pytest.raises(UserError, match=r"gate\.why"):
            force_of(True, why)
    verdict = judge(night(WORSE), RULES, force_of(True, "the catalogue was halved on purpose"))
    assert verdict.passed
    assert verdict.refused[0].rule == "main_metric"
    told = verdict.to_json()
    assert told["forced"]["why"] == "the catalogue was halved on purpose"
    assert told["forced"]["who"]
    assert told["refused"] == ["main_metric"]
    assert any("forced by" in line and "main_metric" in line for line in verdict.lines())


def test_json_is_json():
    odd = some()
    odd[0] = np.inf
    told = judge(night(twin(odd, coverage=np.nan)), RULES).to_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_the_same_night_gives_the_same_verdict():
    assert judge(night(twin(some(1))), RULES) == judge(night(twin(some(1))), RULES)


def test_a_first_night_has_no_champion():
    with pytest.raises(ValueError, match="no champion"):
        replace(night(), is_first_night=True)
    assert judge(first_night(), RULES).smallest_loss is None


@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from(["twin", "champion", "popularity"]),
    st.sampled_from(["all", "discovery"]),
    st.integers(0, 39),
    st.sampled_from([np.nan, np.inf, -np.inf]),
)
def test_what_is_not_a_number_never_passes(whose, slice_name, place, odd):
    values = some(size=40)
    broken = evaluation(values)
    broken.slices[slice_name].values[METRIC] = values.copy()
    broken.slices[slice_name].values[METRIC][place] = odd
    whole = night(twin(values), twin(values, "champion"), baselines=baselines(values))
    if whose == "popularity":
        asked: Evidence = replace(whole, baselines={**whole.baselines, whose: broken})
    else:
        asked = replace(whole, **{whose: replace(getattr(whole, whose), evaluation=broken)})
    assert "finite" in {outcome.rule for outcome in judge(asked, RULES).refused}


def baselines(values):
    return {name: evaluation(values / 2, name=name) for name in ("popularity", "most played yesterday")}


def test_a_figure_that_is_no_number_refuses_whatever_the_rule_says():
    class Careless:
        stage = "twins"

        def judge(self, name, evidence):
            return Outcome(rule=name, status="passed", words="fine", figures={"x": float("nan")})

    verdict = judge(night(), {"careless": Careless()})
    assert verdict.rules == "careless"
    assert "not a finite number: x" in verdict.refused[0].words


def test_facts_of_exports(tmp_path):
    vectors = np.eye(3, dtype=np.float32)
    contents = [content(name) for name in ("a", "b", "c")]
    old = small_export(tmp_path / "old", contents, vectors, {"ann": [0], "ben": [1]})
    new = small_export(tmp_path / "new", contents[:2], vectors[:2] * 2, {"ann": [0], "cid": [1]})
    (new.folder / "drift.json").write_text('{"keeps_space": true}')
    found = facts_of(new, old)
    assert found.vanished == {"contents": 1 / 3, "listeners": 1 / 2}
    assert found.norms == (2.0, 2.0)
    assert found.drift == {"keeps_space": True}
    assert found.champion == old.manifest
    first = facts_of(old, None)
    assert (first.norms, first.drift, first.champion, first.vanished) == ((1.0, 1.0), None, None, None)


def test_norms_of_what_is_not_a_number():
    assert np.isnan(norms_of([np.array([[1.0, np.nan]]), np.eye(2)])).all()
    assert np.isnan(norms_of([np.zeros((0, 2))])).all()
    assert norms_of([np.eye(2), 3 * np.eye(2)]) == (1.0, 3.0)


def test_worse_means_refused_by_one_rule_alone():
    assert [outcome.rule for outcome in judge(night(WORSE), RULES).refused] == ["main_metric"]


def test_data_is_judged_before_anything_is_trained():
    evidence = Evidence(stage="data", is_first_night=False, data=night().data)
    assert judge(evidence, RULES).passed
    broken = Finding(rule="missing", severity="broken", text="half of the events are missing", figures={})
    verdict = judge(replace(evidence, data=DataVerdict(compared_with="0ld", findings=(broken,))), RULES)
    assert verdict.rules == "data_profile"
    assert judge(replace(evidence, stage="twins"), {"same_window": RULES["same_window"]}).rules == "same_window"
