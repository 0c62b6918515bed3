"""From a log to the policy that serves: learned from the older part, judged by the newer one, then served."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from omegaconf import OmegaConf

from tests.lifecycle.home.pages import BEGIN_US, DIM, HOUR_US, card_rows, new_policy, page_export, use
from towers.config.instantiate import instantiate
from towers.config.keys import CONFIG_DIR
from towers.contract.impressions import IMPRESSION_SCHEMA
from towers.errors import UserError
from towers.lifecycle.home.choices import choices_of
from towers.lifecycle.home.learning import Lesson, learn
from towers.lifecycle.home.log import LOGGED_SCHEMA, read_log
from towers.lifecycle.home.versions import HomeData, Made, judged, lead_to, trained, updated
from towers.lifecycle.home_gate.gate import judge
from towers.lifecycle.home_gate.rules import EffectiveRequests, LargestWeight
from towers.policies.bandit.cascade import Cascade
from towers.policies.bandit.hierarchical import HierarchicalThompson
from towers.policies.bandit.home_cards import HomeCards
from towers.policies.bandit.kinds_first import KindsFirst
from towers.policies.bandit.policy_file import open_policy, roll_back, versions_of, write_policy
from towers.policies.bandit.reward import StreamAndSave

CONFIG = OmegaConf.load(f"{CONFIG_DIR}/home_gate/default.yaml")
RULES = {str(name): instantiate(node, f"home_gate.rules.{name}") for name, node in CONFIG.rules.items()}
# This log is small: some hundred requests, of which each weighs more.
RULES |= {"effective_requests": EffectiveRequests(least=150.0), "largest_weight": LargestWeight(most=0.05)}
JUDGE = replace(instantiate(CONFIG.judge, "home_gate.judge"), resamples=200)
PAGES = 600


def quiet(stage: str, done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    return page_export(tmp_path_factory.mktemp("home") / "export")


def data_of(export, impressions) -> HomeData:
    return HomeData(
        export=export, card_rows=card_rows(export), impressions=impressions, reward=StreamAndSave(),
        attention=Cascade(),
    )  # fmt: skip


def written(made: Made) -> tuple[Path, Lesson]:
    """Returns folder and lesson of a version that was written beside the one that serves."""
    assert made.folder is not None
    assert made.lesson is not None
    assert not made.is_current
    return made.folder, made.lesson


@pytest.fixture(scope="module")
def served(tmp_path_factory, export):
    """A policy that has learned nothing serves and explores: its folder, and its log."""
    folder = tmp_path_factory.mktemp("served")
    made = trained(folder / "policy", new_policy(), data_of(export, LOGGED_SCHEMA.empty_table()), quiet)
    assert made.is_current
    assert made.lesson is None
    use(export, open_policy(folder / "policy"), folder / "log", PAGES)
    return folder / "policy", read_log(folder / "log")


@pytest.fixture
def policies(tmp_path, served):
    """A copy of the folder of the policy, to be changed."""
    current = open_policy(served[0])
    write_policy(
        tmp_path / "policy", current.policy, space_id=current.space_id, update=0,
        learned_from=current.learned_from, card_ids=current.card_ids,
    )  # fmt: skip
    return tmp_path / "policy"


def test_the_log_says_exactly_what_the_policy_in_production_did(export, served):
    """Asked again with the same inputs, the policy gives the chances in the log, so that all weights are 1."""
    folder, log = served
    version = open_policy(folder)
    data = data_of(export, log)
    choices = choices_of(
        data.cards(version.card_ids), log, version.policy, data.reward, quiet, production=version.logged_as
    )
    assert len(choices.log) == len(log) == 3 * PAGES
    assert choices.log.new_propensities == pytest.approx(choices.log.propensities, abs=1e-9)
    assert len(np.unique(choices.log.requests)) == 2 * PAGES
    assert choices.production is None  # all of it is
    assert choices.log.guards["new_cards"].sum() == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: HierarchicalThompson(dim=DIM, reads_cards=True, slots=2, members=4),
        lambda: KindsFirst(policy=new_policy(), dim=DIM, policy_id="kinds"),
    ],
)
def test_so_it_is_of_what_has_learned(export, served, tmp_path, make):
    """This holds for policies that draw a member for a whole slate, and for those that choose kinds first."""
    policy = make()
    data = data_of(export, served[1].slice(0, 300))
    learn(policy, data.cards(), data.impressions, data.reward, data.attention, quiet)
    write_policy(
        tmp_path / "policy", policy, space_id="space", update=1, learned_from={}, card_ids=data.cards().card_ids
    )
    version = open_policy(tmp_path / "policy")
    use(export, version, tmp_path / "log", 40, seed=1)
    log = read_log(tmp_path / "log")
    choices = choices_of(data.cards(version.card_ids), log, version.policy, data.reward, quiet)
    assert len({*log["propensity"].to_pylist()}) > 10
    assert choices.log.new_propensities == pytest.approx(choices.log.propensities, abs=1e-9)


def test_a_version_learns_passes_the_gate_and_serves(export, served, policies):
    data = data_of(export, served[1])
    made = updated(policies, data, quiet, held_out=0.5)
    folder, lesson = written(made)
    assert open_policy(policies).version == "000001"
    assert (lesson.rows, made.held_out) == (1.5 * PAGES, 1.5 * PAGES)
    assert lesson.batches == 4  # days
    assert lesson.figures["clicks"] == 1
    # Before the first batch it expects the prior; in the end it knows the listeners' tastes.
    half = len(lesson.predicted) // 2
    assert len(lesson.predicted) == len(lesson.observed) == lesson.rows
    assert lesson.predicted[:10] == pytest.approx(0.3)
    assert np.corrcoef(lesson.predicted[half:], lesson.observed[half:])[0, 1] > 0.2
    version = open_policy(folder)
    told = version.learned_from
    assert (told["from_us"], told["goes_on_from"], told["production"]) == (BEGIN_US, "000001", "000001")
    assert told["until_us"] == data.times_us[data.times_us <= told["until_us"]][-1]

    result, evidence = judged(policies, folder, data, JUDGE, quiet)
    assert result.requests == PAGES
    assert result.estimates["dr"].low > result.production.mean
    verdict = judge(evidence, RULES)
    assert verdict.passed, verdict.lines()

    lead_to(policies, folder)
    assert open_policy(policies).folder == folder
    assert roll_back(policies).name == "000001"


def test_a_worse_version_is_refused_and_never_rolled_back_to(export, served, policies):
    """The version learned the reverse of the listeners' tastes."""
    log = served[1]
    turned = pa.array(np.where(log["skipped"].to_numpy(), 40_000, 2_000))
    turned = log.set_column(log.column_names.index("played_ms"), "played_ms", turned)
    turned = turned.set_column(log.column_names.index("skipped"), "skipped", pa.array(~log["skipped"].to_numpy()))
    worse, _ = written(updated(policies, data_of(export, turned), quiet, held_out=0.5))
    data = data_of(export, log)
    result, evidence = judged(policies, worse, data, JUDGE, quiet)
    verdict = judge(evidence, RULES)
    assert "lower_bound" in [outcome.rule for outcome in verdict.refused]
    assert result.estimates["dr"].high < result.production.mean

    better, _ = written(updated(policies, data, quiet, held_out=0.5))
    assert open_policy(better).learned_from["goes_on_from"] == "000001"  # not from the refused version
    lead_to(policies, better)
    assert roll_back(policies).name == "000001"


def test_an_update_goes_on_from_what_serves(export, served, policies):
    data = data_of(export, served[1])
    lessons = []
    for held_out in (0.5, 0.5, 0.0):
        folder, lesson = written(updated(policies, data, quiet, held_out=held_out))
        lessons.append(lesson)
        lead_to(policies, folder)
    first, second, last = lessons
    assert (first.rows, second.rows, last.rows) == (1.5 * PAGES, 0.75 * PAGES, 0.75 * PAGES)
    assert first.last_us < second.first_us < second.last_us < last.first_us
    assert open_policy(policies).update == first.batches + second.batches + last.batches

    there = versions_of(policies)
    nothing = updated(policies, data, quiet)
    assert nothing.folder is None
    assert nothing.lesson is None
    assert versions_of(policies) == there
    with pytest.raises(UserError, match="has no row that it has not learned from"):
        judged(policies, policies, data, JUDGE, quiet)


def test_trained_from_nothing_it_learns_the_same_as_by_an_update(export, served, policies, tmp_path):
    data = data_of(export, served[1])
    one, _ = written(trained(tmp_path / "new", new_policy(), data, quiet))  # it has a log to be judged by
    assert not (tmp_path / "new" / "current").exists()
    same, _ = written(updated(policies, data, quiet))
    states = [open_policy(folder).policy.state() for folder in (one, same)]
    assert {name: array.tolist() for name, array in states[0].items()} == {
        name: array.tolist() for name, array in states[1].items()
    }
    assert judged(tmp_path / "new", one, data, JUDGE, quiet)[0].requests == 0.4 * PAGES


def test_production_is_the_current_versions_own_rows(export, served, policies, tmp_path):
    log = served[1]
    is_late = np.arange(len(log)) >= 2.4 * PAGES
    names = np.where(is_late, "home@000002", "home@000001")
    mixed = log.set_column(log.column_names.index("policy_id"), "policy_id", pa.array(names.tolist()))
    data = data_of(export, mixed)
    found = choices_of(
        data.cards(), mixed, new_policy(), data.reward, quiet, production="home@000002", slots=1,
    )  # fmt: skip
    assert found.production is not None
    assert len(found.production) == 0.4 * PAGES
    assert found.production.rewards.tolist() == found.log.rewards[found.log.requests >= 1.6 * PAGES].tolist()


def without(log: pa.Table, card: str) -> pa.Table:
    """Returns a log of the time before a card existed."""
    kept = log.filter(pa.array([one != card for one in log["chosen_id"].to_pylist()]))
    could = [[one for one in ids if one != card] for ids in kept["candidate_ids"].to_pylist()]
    return kept.set_column(
        kept.column_names.index("candidate_ids"), "candidate_ids", pa.array(could, pa.list_(pa.string()))
    ).cast(IMPRESSION_SCHEMA)


def test_a_card_that_came_is_new_for_a_week(export, served):
    log = served[1]
    is_late = log["timestamp"].cast(pa.int64()).to_numpy() >= BEGIN_US + 48 * HOUR_US
    plain = log.filter(pa.array(is_late))
    plain = plain.set_column(
        plain.column_names.index("candidate_ids"), "candidate_ids",
        pa.array(plain["candidate_ids"].to_pylist(), pa.list_(pa.string())),
    )  # fmt: skip
    data = data_of(export, pa.concat_tables([without(log.filter(pa.array(~is_late)), "p0"), plain]))
    found = choices_of(data.cards(), data.impressions, new_policy(), data.reward, quiet)
    assert found.log.guards["new_cards"].sum() == sum(one == "p0" for one in data.impressions["chosen_id"].to_pylist())


def test_a_card_that_is_none_by_now_has_no_chance(export, served):
    log = served[1]
    rows = card_rows(export)
    cards = HomeCards(export=export, rows=rows[[export.content_ids[row] != "p0" for row in rows.tolist()]])
    found = choices_of(cards, log, new_policy(), StreamAndSave(), quiet)
    shown = np.array(log["chosen_id"].to_pylist()) == "p0"
    assert (found.log.new_propensities == 0).sum() == shown.sum() > 0
    assert (found.features[found.log.new_propensities == 0, :-2] == 0).all()  # all but the shelf


class TestRefusals:
    """Each refusal prints one line and leaves all files as they were."""

    def test_nothing_serves(self, export, served, tmp_path):
        with pytest.raises(UserError, match="no policy here"):
            updated(tmp_path / "none", data_of(export, served[1]), quiet)

    def test_another_space(self, export, served, tmp_path):
        write_policy(tmp_path / "other", new_policy(), space_id="other", update=0, learned_from={})
        for ask in (
            lambda: updated(tmp_path / "other", data_of(export, served[1]), quiet),
            lambda: trained(tmp_path / "other", new_policy(), data_of(export, served[1]), quiet),
            lambda: judged(tmp_path / "other", tmp_path / "other", data_of(export, served[1]), JUDGE, quiet),
        ):
            with pytest.raises(UserError, match="other"):
                ask()
        assert len(versions_of(tmp_path / "other")) == 1

    def test_a_policy_of_other_vectors(self, export, served, tmp_path):
        with pytest.raises(UserError, match="home cannot learn from this log"):
            trained(tmp_path / "wide", new_policy(dim=9), data_of(export, served[1]), quiet)
        assert not (tmp_path / "wide").exists()

    def test_a_share_that_is_none(self, export, served, policies):
        with pytest.raises(UserError, match=r"held_out=1\.0"):
            updated(policies, data_of(export, served[1]), quiet, held_out=1.0)

    def test_nobody_of_the_log_is_known(self, export, served, policies):
        log = served[1]
        strange = log.set_column(
            log.column_names.index("user_id"), "user_id", pa.array([f"who{at // 3}" for at in range(len(log))])
        )
        made = updated(policies, data_of(export, strange), quiet)
        assert made.folder is None
        assert made.lesson is not None
        assert made.lesson.left_out == {"no such listener in the export": round(2.4 * PAGES)}
        assert len(versions_of(policies)) == 1
        with pytest.raises(UserError, match=r"no such listener in the export\)"):
            judged(policies, policies, data_of(export, strange), JUDGE, quiet)

    def test_a_version_of_nobody(self, policies):
        with pytest.raises(UserError, match="no version 000009; there are 000001"):
            lead_to(policies, policies / "000009")


def test_what_cannot_be_judged_is_counted(export, served):
    log, data = served[1], data_of(export, served[1])
    chances, slots = log["propensity"].to_pylist(), log["slot"].to_pylist()
    chances[0] = None
    slots[4] = 9  # the second of the next page
    lacking = log.set_column(log.column_names.index("propensity"), "propensity", pa.array(chances))
    lacking = lacking.set_column(log.column_names.index("slot"), "slot", pa.array(slots)).slice(0, 60)
    found = choices_of(data.cards(), lacking, new_policy(slots=10), data.reward, quiet, slots=None)
    assert found.left_out == {"no propensity": 2, "a slot before it is missing": 2}  # whole slates
    assert len(found.log) == 56


def test_a_log_without_candidates_judges_nobody(export, served):
    log, data = served[1].slice(0, 30), data_of(export, served[1])
    silent = log.set_column(
        log.column_names.index("candidate_ids"), "candidate_ids", pa.nulls(30, pa.list_(pa.string()))
    )
    with pytest.raises(UserError, match=r"no row that a policy could be judged by \(30 rows: no candidates\)"):
        choices_of(data.cards(), silent, new_policy(), data.reward, quiet)
