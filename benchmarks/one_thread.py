"""Importing this gives the process one thread, unless its environment names another number.

It stands before libraries that start their threads when they are imported (numpy's BLAS, torch, FAISS):

    from benchmarks import one_thread  # noqa: F401  # importing it sets the threads that numpy reads when it starts

    # isort: split
    import numpy as np
"""

import os

VARIABLES = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Environment variables of a process that is started for a measurement."""

os.environ.setdefault("OMP_NUM_THREADS", VARIABLES["OMP_NUM_THREADS"])
