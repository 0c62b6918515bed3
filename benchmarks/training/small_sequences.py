"""A store of few listeners in ML-1M's form, made in code: what a benchmark's smallest form trains on."""

from pathlib import Path

import numpy as np

from towers.commands import prepare
from towers.config.composing import compose

LISTENERS, CONTENTS, MAX_LENGTH = 60, 40, 30


def prepared(folder: Path) -> list[str]:
    """Writes and prepares it below `folder`; gives the overrides that lead to it."""
    generator = np.random.default_rng(0)
    lines = [
        f"{listener} {content}"
        for listener in range(LISTENERS)
        for content in generator.permutation(CONTENTS)[: generator.integers(10, MAX_LENGTH)]
    ]
    path = folder / "sequences.txt"
    path.write_text("\n".join(lines) + "\n")
    overrides = ["experiment=ml1m", f"data.root={path}", f"paths.stores={folder / 'stores'}", "evaluation.min_users=2"]
    prepare.run(compose("prepare", overrides))
    return overrides
