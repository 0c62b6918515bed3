"""A night of Towers in Airflow 3: prepare, a look at the data, and the night itself, whose figures go into XCom.

    pip install -r deploy/airflow/requirements.txt
    PYTHONPATH=deploy/night AIRFLOW__CORE__DAGS_FOLDER=$PWD/deploy/airflow airflow standalone

Settings are the environment variables of `towers_night`. Pre-emption: docs/gpu_box.md.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import towers_night as night
from airflow.sdk import BaseOperator, CronTriggerTimetable, dag, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

SETTINGS = night.Settings.from_environment()


class TowersCommand(BaseOperator):
    """Runs one command of Towers; its lines go to the task's log, and what `figures` gives goes into XCom.

    A task that Airflow ends (SIGTERM: a worker that is stopped, a pod that is preempted, somebody who clears the task)
    passes the signal on, and the night saves. Airflow's own `BashOperator` would do so, too, but would retry a refusal.
    """

    def __init__(self, *, words: tuple[str, ...], what: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.words = words
        self.what = what
        self._running: night.Running | None = None

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Returns figures of the store, or of the night.

        Raises:
            AirflowFailException: a refusal, or a mistake: no retry.
            AirflowException: the same command goes on, so that the task is retried.
        """
        self._running = night.Running(self.words, SETTINGS.home, self.log.info)
        try:
            self._running.wait()
        except night.NightFailed as failed:
            raise (AirflowFailException if failed.is_final else AirflowException)(str(failed)) from failed
        return night.store_figures(SETTINGS) if self.what == "store" else night.night_figures(night.served(SETTINGS))

    def on_kill(self) -> None:
        """Passes the signal on; `execute` waits until the night has saved."""
        if self._running is not None:
            self._running.stop()


@task(retries=0)
def data_is_trusted() -> dict[str, Any]:
    """Ends the run before the night where the data is broken. It fails, and does not skip what follows: a run that a
    short circuit has ended is green, and nobody would look at the data."""
    verdict = night.data_verdict(SETTINGS)
    if not night.is_trusted(verdict):
        found = [finding["rule"] for finding in verdict["findings"]]
        raise AirflowFailException(
            f"the data is {verdict['level']}: {', '.join(found)}; see {SETTINGS.store}/profile.html"
        )
    return {"level": verdict["level"]}


@dag(
    schedule=CronTriggerTimetable("15 2 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # a night takes all that came; there is nothing to make up for
    max_active_runs=1,
    max_active_tasks=1,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(seconds=SETTINGS.retry_s),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(hours=72),  # a first night is long; the one due meanwhile waits its turn
    },
    tags=["towers"],
)
def towers_night() -> None:
    """The nightly cycle."""
    prepare = TowersCommand(task_id="prepare", words=SETTINGS.prepare, what="store")
    retrain = TowersCommand(task_id="retrain", words=SETTINGS.retrain, what="night")
    prepare >> data_is_trusted() >> retrain


towers_night()
