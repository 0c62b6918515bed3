"""Runs the night of deploy/airflow once, in Airflow's environment, and prints the result as JSON.

AIRFLOW_HOME is a folder in which Airflow makes its database.
"""

import json
import os
import subprocess
import sys


def main() -> None:
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, stdout=sys.stderr)
    from airflow.dag_processing.dagbag import DagBag  # not in the environment of the tests

    bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    (dag,) = bag.dags.values()
    run = dag.test()
    tasks = {task.task_id: task for task in run.get_task_instances()}
    found = {
        "import_errors": dict(bag.import_errors),
        "state": str(run.state),
        "states": {name: str(task.state) for name, task in tasks.items()},
        "tries": {name: task.try_number for name, task in tasks.items()},
        "given": {name: task.xcom_pull(task_ids=name) for name, task in tasks.items()},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
