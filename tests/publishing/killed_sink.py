"""Fills a sink and kills itself while writing listeners: python -m ... TARGET SETTINGS EXPORT."""

import importlib
import json
import os
import signal
import sys
from pathlib import Path

from towers.retrieval.export import Export


def kill(stage: str, done: int, total: int) -> None:
    if stage == "sink users" and done < total:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    target, settings, folder = sys.argv[1:]
    module, _, name = target.rpartition(".")
    getattr(importlib.import_module(module), name)(**json.loads(settings)).write(Export(Path(folder)), kill)
