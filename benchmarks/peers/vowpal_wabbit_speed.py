"""Decisions a second of Vowpal Wabbit's contextual bandit: in .venv-peers-vw, which has no `towers`.

    python vowpal_wabbit_speed.py CARDS DIM DECISIONS

Prints JSON, for each kind of exploration and for cards as text and parsed beforehand.
"""

import json
import random
import sys
import time

from vowpalwabbit import Workspace

EXPLORATIONS = {"squarecb": "--squarecb", "bag": "--bag 16", "cover": "--cover 16"}


def vector(name, values):
    """A namespace as text."""
    return f"|{name} " + " ".join(f"{at}:{value:.5f}" for at, value in enumerate(values))


def per_second(ask, decisions):
    start = time.process_time()
    for _ in range(decisions):
        ask()
    return decisions / (time.process_time() - start)


def main():
    cards, dim, decisions = map(int, sys.argv[1:])
    generator = random.Random(0)

    def drawn():
        return [generator.gauss(0, dim**-0.5) for _ in range(dim)]

    user = "shared " + vector("u", drawn())
    lines = [vector("c", drawn()) for _ in range(cards)]
    figures = {}
    for name, option in EXPLORATIONS.items():
        workspace = Workspace(f"--cb_explore_adf {option} --interactions uc --quiet")
        taught = [f"0:-1:0.1 {lines[0]}", *lines[1:]]
        workspace.learn([user, *taught])
        figures[f"vw {name}, text"] = per_second(lambda w=workspace: w.predict([user, *lines]), decisions)
        parsed = workspace.parse([user, *lines])
        figures[f"vw {name}, parsed"] = per_second(lambda w=workspace, p=parsed: w.predict(p), decisions)
        workspace.finish_example(parsed)
        workspace.finish()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
