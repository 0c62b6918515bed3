"""A night of Towers in Dagster: the prepared store, a check of its data that blocks, and the version that serves.

    pip install -r deploy/dagster/requirements.txt
    PYTHONPATH=deploy/night:deploy/dagster dagster dev -m towers_dagster

Settings are the environment variables of `towers_night`. Pre-emption: docs/gpu_box.md.
"""

from collections.abc import Iterator

import dagster as dg
import towers_night as night

SETTINGS = night.Settings.from_environment()
RETRIES = 3
"""Of a step whose command was killed or failed. They are asked for where that is known: a `RetryPolicy` would also
begin a step again whose run was told to end."""
GPU = "towers_gpu"
"""Pool of steps that need the card; dagster.yaml lets one of them run at a time."""


@dg.asset(group_name="towers", kinds={"duckdb"}, pool=GPU)
def prepared_store(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Raw data as training reads it, cut by the night's windows. Only new files are read."""
    _run(context, SETTINGS.prepare)
    figures = night.store_figures(SETTINGS)
    return dg.MaterializeResult(metadata=figures, data_version=dg.DataVersion(figures["fingerprint"]))


@dg.asset_check(asset=prepared_store, blocking=True)
def data_is_trusted(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The profile's verdict on what came, beside the data of what serves. The night is not begun on broken data."""
    verdict = night.data_verdict(SETTINGS, context.log.info)
    return dg.AssetCheckResult(
        passed=night.is_trusted(verdict),
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"level": verdict["level"], "findings": dg.MetadataValue.json(verdict["findings"])},
    )


@dg.asset(
    deps=[prepared_store],
    group_name="towers",
    kinds={"pytorch"},
    pool=GPU,
    check_specs=[dg.AssetCheckSpec("gate", asset="serving_version", description="What the gate said of the night.")],
)
def serving_version(context: dg.AssetExecutionContext) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
    """The version that `exports/current` leads to, after the night has ended well."""
    try:
        _run(context, SETTINGS.retrain)
    except dg.Failure:
        yield _gate()  # of a refusal, too, what each rule said is seen beside the asset
        raise
    yield _gate()
    served = night.served(SETTINGS)
    version = None if served is None else served.get("version")
    yield dg.MaterializeResult(
        metadata=night.night_figures(served), data_version=dg.DataVersion(version) if version else None
    )


def _gate() -> dg.AssetCheckResult:
    record = night.tonight(SETTINGS)
    passed = bool(((record or {}).get("verdict") or {}).get("passed", False))
    metadata = {**night.night_figures(record), "rules": dg.MetadataValue.json(night.rules(record))}
    return dg.AssetCheckResult(check_name="gate", passed=passed, metadata=metadata)


def _run(context: dg.AssetExecutionContext, words: tuple[str, ...]) -> None:
    """Runs a command, whose lines go to the run's log.

    Raises:
        Failure: it is final: no retry.
        RetryRequested: the same command goes on.
    """
    try:
        night.Running(words, SETTINGS.home, context.log.info).wait()
    except night.NightFailed as failed:
        if failed.is_final:
            raise dg.Failure(str(failed), metadata={"exit_code": failed.code}, allow_retries=False) from failed
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=SETTINGS.retry_s) from failed


# One process for all steps: a signal that ends the run reaches the command at once, and the night saves. A run that
# nobody asked to end, or whose process is gone with its machine, is begun again by Dagster's daemon, from the step that
# was lost (run_retries in dagster.yaml, and these tags).
night_job = dg.define_asset_job(
    "night",
    selection=dg.AssetSelection.groups("towers"),
    executor_def=dg.in_process_executor,
    tags={"dagster/max_retries": "3", "dagster/retry_strategy": "FROM_FAILURE"},
)
defs = dg.Definitions(
    assets=[prepared_store, serving_version],
    asset_checks=[data_is_trusted],
    jobs=[night_job],
    schedules=[dg.ScheduleDefinition(job=night_job, cron_schedule="15 2 * * *", execution_timezone="UTC")],
)
