"""The chances that a shown content is streamed, fitted on slates of random candidates; agents' training starts there.

They cover the next play alone, and nothing after it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from towers.policies.agent.features import CONTEXT, FEATURES
from towers.policies.agent.policy import READ, AgentPolicy, Chance, no_weights
from towers.simulation.environment.world import ListeningWorld
from towers.training.agent.episodes import turns

_COLUMNS = [FEATURES.index(name) for name in READ]
_RIDGE = 1e-4
_STEPS = 100
_NO_SPREAD = 1e-6


def fit_chance(
    features: Float[np.ndarray, "rows features"],
    context: Float[np.ndarray, "rows context"],
    happened: Bool[np.ndarray, " rows"],
) -> Chance:
    """Fits a logistic regression by L-BFGS, with a small ridge penalty.

    Args:
        features: `FEATURES` of the shown contents.
        context: context of the listener of each row.
        happened: whether the event happened.
    """
    read, of_listener = torch.from_numpy(features[:, _COLUMNS]).double(), torch.from_numpy(context).double()
    target = torch.from_numpy(happened).double()
    weights = torch.zeros(len(_COLUMNS), dtype=torch.float64, requires_grad=True)
    of_context = torch.zeros(len(CONTEXT), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, of_context], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        log_odds = read @ weights + of_listener @ of_context
        found = torch.nn.functional.binary_cross_entropy_with_logits(log_odds, target)
        found = found + _RIDGE * (weights @ weights + of_context @ of_context)
        found.backward()
        return found

    optimizer.step(loss)
    return Chance(weights=weights.detach().numpy(), of_context=of_context.detach().numpy())


def fit_chances(
    worlds: Sequence[ListeningWorld],
    policy: AgentPolicy,
    seed: int,
    is_read: Float[np.ndarray, " features"],
    rounds: int = 2,
) -> tuple[Chance, Chance, Float[np.ndarray, " features"]]:
    """Fits the chances of a stream and the spread of the features on played episodes.

    Returns the chance that a shown content is picked and streamed, the chance that a picked content is streamed, and
    the standard deviation of each feature of the shown contents, `[FEATURES]`; 1 for a feature that does not vary.

    The first round draws slates at random; later rounds use half of the first chance's weights, since random slates
    have few picks.

    Args:
        worlds: worlds of listeners; each round plays in one of them.
        policy: policy that gives the contents and features.
        seed: seed of all random draws.
        is_read: 1 for each feature that is read; the others get weight 0.
        rounds: number of rounds of episodes, at least one.
    """
    shown: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    policy = policy.with_weights(no_weights())
    listen = stream = None
    for number in range(rounds):
        for turn in turns(worlds[number % len(worlds)], policy, (seed, 51, number)):
            slots = turn.places.shape[1]
            is_picked = np.arange(slots) == turn.slot[:, None]
            features = np.take_along_axis(turn.features, turn.places[..., None], axis=1)
            is_stream = is_picked & (turn.step.parts["streams"] > 0)[:, None]
            read = (features * is_read).astype(np.float32)
            shown.append((
                read.reshape(-1, features.shape[2]), np.repeat(turn.context, slots, axis=0), is_picked.ravel(),
                is_stream.ravel(),
            ))  # fmt: skip
        features, context, is_picked, is_stream = (np.concatenate(column) for column in zip(*shown, strict=True))
        listen = fit_chance(features, context, is_stream)
        stream = fit_chance(features[is_picked], context[is_picked], is_stream[is_picked])
        policy = policy.with_weights(weights_of(listen, 0.5))
    assert listen is not None
    assert stream is not None
    spread = np.concatenate([features for features, *_ in shown]).std(axis=0, dtype=float)
    return listen, stream, np.where(spread > _NO_SPREAD, spread, 1.0)


def weights_of(chance: Chance, scale: float) -> Float[np.ndarray, "context features"]:
    """Returns policy weights whose scores are `scale` times a chance's log-odds, up to a constant per listener."""
    weights = no_weights()
    weights[0, _COLUMNS] = scale * chance.weights
    return weights
