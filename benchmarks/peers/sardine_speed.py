"""Runs in an environment of its own (sardine.txt): steps a second of SARDINE's slate environments, as JSON.

    python sardine_speed.py STEPS

Slates of 10 random items; episodes of 100 steps that begin anew. One user a step: SARDINE has no vectorised form, and
Gymnasium's runs one environment after the other.
"""

import json
import sys
import time

import gymnasium
import sardine

gymnasium.register_envs(sardine)
found = {}
for name in ("SlateTopK-Bored-v0", "SlateTopK-BoredInf-v0"):
    env = gymnasium.make(f"sardine/{name}", disable_env_checker=True)
    env.reset(seed=0)
    env.action_space.seed(0)
    slates = [env.action_space.sample() for _ in range(int(sys.argv[1]))]
    begin = time.process_time()
    for slate in slates:
        _, _, terminated, truncated, _ = env.step(slate)
        if terminated or truncated:
            env.reset()
    found[f"sardine {name}"] = len(slates) / (time.process_time() - begin)
print(json.dumps(found))
