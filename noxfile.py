"""Sessions of nox: tests on every Python that the package is for, and on the newest libraries.

    nox                                            # the quick tests, on 3.11, 3.12 and 3.13
    nox -s tests-3.13 -- tests/retrieval -x        # what follows goes to pytest
    nox -s newest                                  # scripts/newest

uv makes the environments, and fetches a Python that is not there. `UV_TORCH_BACKEND=cpu` chooses torch without CUDA.
"""

import nox

PYTHONS = ("3.11", "3.12", "3.13")
QUICK = (
    "tests/contract",
    "tests/features",
    "tests/retrieval",
    "tests/evaluation",
    "tests/models",
    "tests/test_configs.py",
    "tests/test_cli.py",
    "tests/test_manifest.py",
)
"""Minutes, not the whole: a change of Python shows in signatures, dataclasses and processes, which these have."""

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["tests"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The quick tests, or those that are named, in the versions of constraints.txt."""
    session.install("--constraint", "constraints.txt", "-e", ".[dev]")
    chosen = session.posargs or QUICK
    session.env["OMP_NUM_THREADS"] = "1"
    # What tests keep between runs belongs to one Python: runs of two at once would remove each other's.
    chosen = (*chosen, "-o", f"cache_dir=.nox/cache-{session.python}")
    checked = ("--jaxtyping-packages=towers,beartype.beartype", "-m", "not gpu and not slow and not unhooked")
    session.run("pytest", "-q", "-n", "2", *chosen, *checked)
    unchecked = {"JAXTYPING_DISABLE": "1"}
    # Exit code 5: the chosen files may have none of these.
    session.run("pytest", "-q", "-n", "2", "--dist", "loadfile", *chosen, "-m", "unhooked and not gpu and not slow",
                env=unchecked, success_codes=[0, 5])  # fmt: skip


@nox.session(venv_backend="none")
def newest(session: nox.Session) -> None:
    """All checks and tests with the newest libraries that pyproject.toml allows."""
    session.run("scripts/newest", *session.posargs, external=True)
