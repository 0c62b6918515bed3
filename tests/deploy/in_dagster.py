"""Runs the night of deploy/dagster once, in Dagster's environment, and prints what came of it as JSON."""

import json
import warnings

import dagster as dg
from dagster import DagsterEventType

warnings.simplefilter("error", dg.BetaWarning)

import towers_dagster  # noqa: E402  # behind the filter

with dg.instance_for_test() as instance:
    ended = towers_dagster.defs.resolve_job_def("night").execute_in_process(instance=instance, raise_on_error=False)
    checks = {each.check_name: each for each in ended.get_asset_check_evaluations()}
    metadata = {
        event.asset_key.to_user_string(): {key: each.value for key, each in event.materialization.metadata.items()}
        for event in ended.get_asset_materialization_events()
    }
    retried = [event for event in ended.all_events if event.event_type == DagsterEventType.STEP_UP_FOR_RETRY]
    print(
        json.dumps(
            {
                "success": ended.success,
                "made": metadata,
                "checks": {
                    name: [each.passed, {key: value.value for key, value in each.metadata.items()}]
                    for name, each in checks.items()
                },
                "retried": [event.step_key for event in retried],
                "failed": [event.step_key for event in ended.all_events if event.is_step_failure],
            }
        )
    )
