"""Estimates by Open Bandit Pipeline of its own samples, and what they are made of: in .venv-peers-obp, which has no
`towers`.

    python obp_estimates.py CASES --rounds 2000

Writes a file NAME.npz a case: columns named as those of `LoggedBandit`, `num_slots`, and `obp/ESTIMATOR`, what each of
its estimators says of them. Cases are the small sample of the Open Bandit Dataset, in both directions between its two
policies, with the predictions of its cross-fitted regression; and invented slates, with its Q functions.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OUTDATED_IGNORE", "1")  # else a library asks the network whether it is the newest

import numpy as np
from obp import ope
from obp.dataset import (
    OpenBanditDataset,
    SyntheticSlateBanditDataset,
    linear_behavior_policy_logit,
    logistic_reward_function,
)
from obp.policy import BernoulliTS, Random
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeRegressor

CLIP = 10.0
CAMPAIGNS = ("men", "women", "all")


def of_sample(campaign, logged, new):
    """Returns one campaign's rows, logged by one policy and judged for the other; each row is a request of its own."""
    feedback = OpenBanditDataset(behavior_policy=logged, campaign=campaign).obtain_batch_bandit_feedback()
    actions, slots = feedback["n_actions"], int(feedback["position"].max()) + 1
    if new == "random":
        policy = Random(n_actions=actions, len_list=slots, random_state=0)
    else:
        policy = BernoulliTS(
            n_actions=actions, len_list=slots, is_zozotown_prior=True, campaign=campaign, random_state=0
        )
    chances = policy.compute_batch_action_dist(n_rounds=feedback["n_rounds"])
    model = ope.RegressionModel(
        n_actions=actions, len_list=slots, action_context=feedback["action_context"],
        base_model=LogisticRegression(max_iter=300, random_state=0),
    )  # fmt: skip
    told = {key: feedback[key] for key in ("action", "reward", "pscore", "position")}
    expected = model.fit_predict(context=feedback["context"], **told, n_folds=2, random_state=0, action_dist=chances)
    rows = np.arange(feedback["n_rounds"])
    shown = (rows, feedback["action"], feedback["position"])
    estimators = {
        "ips": ope.InverseProbabilityWeighting(),
        "clipped_ips": ope.InverseProbabilityWeighting(lambda_=CLIP),
        "snips": ope.SelfNormalizedInverseProbabilityWeighting(),
        "direct": ope.DirectMethod(),
        "dr": ope.DoublyRobust(),
        "switch_dr": ope.SwitchDoublyRobust(lambda_=CLIP),
    }
    by_obp = {
        name: estimator.estimate_policy_value(**told, action_dist=chances, estimated_rewards_by_reg_model=expected)
        for name, estimator in estimators.items()
    }
    at_slot = (rows, slice(None), feedback["position"])
    columns = {
        "requests": rows, "listeners": rows, "slots": np.zeros_like(rows), "propensities": feedback["pscore"],
        "new_propensities": chances[shown], "rewards": feedback["reward"].astype(float), "estimates": expected[shown],
        "new_estimates": (chances[at_slot] * expected[at_slot]).sum(axis=1),
    }  # fmt: skip
    return columns, 1, by_obp


def of_slates(rounds, reward_structure):
    """Invented slates of three, drawn without replacement by one policy and judged for another."""
    slots, actions = 3, 8
    dataset = SyntheticSlateBanditDataset(
        n_unique_action=actions, len_list=slots, dim_context=3, reward_type="binary",
        reward_structure=reward_structure, click_model=None, random_state=0,
        behavior_policy_function=linear_behavior_policy_logit, base_reward_function=logistic_reward_function,
    )  # fmt: skip
    feedback = dataset.obtain_batch_bandit_feedback(n_rounds=rounds, return_pscore_item_position=True)
    action = feedback["action"]
    logits = np.random.RandomState(1).normal(size=(rounds, actions))
    joint, marginal, cascade = dataset.obtain_pscore_given_evaluation_policy_logit(action, logits)
    chances = dataset.calc_evaluation_policy_action_dist(action, logits)
    told = {
        "slate_id": feedback["slate_id"], "action": action, "reward": feedback["reward"],
        "position": feedback["position"], "pscore_cascade": feedback["pscore_cascade"],
        "evaluation_policy_pscore_cascade": cascade,
    }  # fmt: skip
    model = ope.SlateRegressionModel(
        base_model=DecisionTreeRegressor(max_depth=3, random_state=0), len_list=slots, n_unique_action=actions
    )
    learned = {key: told[key] for key in told if key not in ("slate_id", "position")}
    q_hat = model.fit_predict(context=feedback["context"], evaluation_policy_action_dist=chances, **learned)
    joints = {"pscore": feedback["pscore"], "evaluation_policy_pscore": joint}
    marginals = {
        "pscore_item_position": feedback["pscore_item_position"], "evaluation_policy_pscore_item_position": marginal
    }  # fmt: skip
    by_obp = {
        "ips/slate": ope.SlateStandardIPS(len_list=slots).estimate_policy_value(**told, **joints),
        "ips/slot": ope.SlateIndependentIPS(len_list=slots).estimate_policy_value(**told, **marginals),
        "ips/cascade": ope.SlateRewardInteractionIPS(len_list=slots).estimate_policy_value(**told),
        "snips/slate": ope.SelfNormalizedSlateStandardIPS(len_list=slots).estimate_policy_value(**told, **joints),
        "snips/slot": ope.SelfNormalizedSlateIndependentIPS(len_list=slots).estimate_policy_value(**told, **marginals),
        "snips/cascade": ope.SelfNormalizedSlateRewardInteractionIPS(len_list=slots).estimate_policy_value(**told),
        "dr": ope.SlateCascadeDoublyRobust(len_list=slots, n_unique_action=actions).estimate_policy_value(
            **told, q_hat=q_hat, evaluation_policy_action_dist=chances
        ),
    }

    def steps(joined):
        by_slot = joined.reshape(-1, slots)
        return (by_slot / np.column_stack([np.ones(len(by_slot)), by_slot[:, :-1]])).ravel()

    by_row = q_hat.reshape(-1, actions)
    columns = {
        "requests": feedback["slate_id"], "listeners": feedback["slate_id"], "slots": feedback["position"],
        "propensities": steps(feedback["pscore_cascade"]), "new_propensities": steps(cascade),
        "rewards": feedback["reward"].astype(float), "estimates": by_row[np.arange(len(action)), action],
        "new_estimates": (by_row * chances.reshape(-1, actions)).sum(axis=1),
        "slot_propensities": feedback["pscore_item_position"], "new_slot_propensities": marginal,
    }  # fmt: skip
    return columns, slots, by_obp


def write(path, found):
    """Writes one file for each case."""
    columns, slots, by_obp = found
    told = {f"obp/{name}": value for name, value in by_obp.items()}
    np.savez(path, num_slots=slots, **columns, **told)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, help="a folder that is there")
    parser.add_argument("--rounds", type=int, default=2_000, help="invented slates")
    arguments = parser.parse_args()
    for campaign in CAMPAIGNS:
        for logged, new in (("bts", "random"), ("random", "bts")):
            write(arguments.cases / f"{campaign} {logged} to {new}.npz", of_sample(campaign, logged, new))
    for structure in ("cascade_additive", "independent"):
        write(arguments.cases / f"slates {structure}.npz", of_slates(arguments.rounds, structure))


if __name__ == "__main__":
    main()
