"""Runs the night of deploy/dagster once, in Dagster's environment, and prints the result as JSON.

With DAGSTER_HOME the instance is the one of that folder, which outlives a process that is killed; before the night the
daemon's part is done in it: runs that are lost are ended, and their slots given back.
"""

import json
import logging
import os
import time
from typing import Any


def main() -> None:
    import dagster as dg  # not in the environment of the tests
    import towers_dagster

    is_kept = "DAGSTER_HOME" in os.environ
    with dg.DagsterInstance.get() if is_kept else dg.instance_for_test() as instance:
        slots = tended(instance) if is_kept else None
        ended = towers_dagster.defs.resolve_job_def("night").execute_in_process(instance=instance, raise_on_error=False)
    events = ended.all_events
    made = [event.materialization for event in ended.get_asset_materialization_events()]
    found = {
        "success": ended.success,
        "slots": slots,
        "made": {
            each.asset_key.to_user_string(): {key: value.value for key, value in each.metadata.items()} for each in made
        },
        "checks": {
            each.check_name: [each.passed, {key: value.value for key, value in each.metadata.items()}]
            for each in ended.get_asset_check_evaluations()
        },
        "retried": [each.step_key for each in events if each.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY],
        "failed": [each.step_key for each in events if each.is_step_failure],
    }
    print(json.dumps(found))


def tended(instance: Any) -> list[int]:
    """Does one minute's work of the daemon; returns the taken slots of the pool before and after."""
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import EmptyWorkspaceTarget
    from dagster._daemon.monitoring.concurrency import execute_concurrency_slots_iteration
    from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration

    def taken() -> int:
        return instance.event_log_storage.get_concurrency_info("towers_gpu").active_slot_count

    log, before = logging.getLogger(), taken()
    settings = instance.run_monitoring_settings
    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as workspace:
        time.sleep(settings["max_runtime_seconds"])
        list(execute_run_monitoring_iteration(workspace, log))
        time.sleep(settings["free_slots_after_run_end_seconds"] + 1)
        list(execute_concurrency_slots_iteration(workspace, log))
    return [before, taken()]


if __name__ == "__main__":
    main()
