"""Runs the night of deploy/dagster once, in Dagster's environment, and prints what came of it as JSON."""

import json


def main() -> None:
    import dagster as dg  # not in the environment of the tests
    import towers_dagster

    with dg.instance_for_test() as instance:
        ended = towers_dagster.defs.resolve_job_def("night").execute_in_process(instance=instance, raise_on_error=False)
    events = ended.all_events
    made = [event.materialization for event in ended.get_asset_materialization_events()]
    found = {
        "success": ended.success,
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


if __name__ == "__main__":
    main()
