"""A contextual bandit of Vowpal Wabbit as a process that learns and chooses: in .venv-peers-vw, which has no `towers`.

    python vowpal_wabbit_home.py CARDS OPTIONS...

Reads a JSON object a line and answers each with a line: `{"learn": [[LISTENER, card, cost, probability], ...]}` with
null, `{"choose": [LISTENER, ...]}` with the chance of each card for each, `{"processor_s": null}` with its seconds.
LISTENER is namespaces in Vowpal Wabbit's text format; a card is its number in the namespace `c`.

Each text is parsed once and kept, several times as fast as parsing it again, with the same result to the last bit;
a probability is rounded to two digits, so that there are not too many.
"""

import json
import sys
import time
from functools import cache

from vowpalwabbit import Workspace


class Bandit:
    """Cards are actions, a listener is what they share."""

    def __init__(self, cards, options):
        self.workspace = Workspace(f"--cb_explore_adf --quiet {options}")
        self.listener = cache(lambda text: self.workspace.parse([f"shared {text}", "|c 0"])[0])
        self.card = cache(lambda text: self.workspace.parse(["shared |s s0", text])[1])
        self.cards = [self.card(f"|c {card}") for card in range(cards)]

    def learn(self, rows):
        """Learns one example after the other."""
        for listener, card, cost, probability in rows:
            shown = self.card(f"0:{cost}:{probability:.1e} |c {card}")
            self.workspace.learn([self.listener(listener), *self.cards[:card], shown, *self.cards[card + 1 :]])

    def choose(self, listeners):
        """The chance of each card for each listener."""
        return [self.workspace.predict([self.listener(text), *self.cards]) for text in listeners]

    def processor_s(self, _):
        """Seconds since the process began."""
        return time.process_time()


def main():
    bandit = Bandit(int(sys.argv[1]), " ".join(sys.argv[2:]))
    for line in sys.stdin:
        ((wish, content),) = json.loads(line).items()
        print(json.dumps(getattr(bandit, wish)(content)), flush=True)


if __name__ == "__main__":
    main()
