-- Every raw event is judged: a reason to reject it, or none. The first of several equal events is kept.
CREATE TABLE judged_events AS
SELECT
    numbered.*,
    CASE
        WHEN numbered.user_id IS NULL THEN 'user_id is null'
        WHEN numbered.timestamp_us IS NULL THEN 'timestamp is null'
        WHEN numbered.timestamp_us < settings.earliest_us THEN 'timestamp out of range'
        WHEN numbered.timestamp_us >= settings.latest_us THEN 'timestamp out of range'
        WHEN actions.action_code IS NULL THEN 'unknown action'
        WHEN numbered.content_id IS NULL AND actions.needs_content THEN 'content_id is null'
        WHEN numbered.played_ms < 0 THEN 'played_ms is negative'
        WHEN numbered.copy_number > 1 THEN 'duplicate'
    END AS reason,
    actions.action_code
FROM (
    SELECT
        events.*,
        ROW_NUMBER() OVER (
            PARTITION BY user_id, content_id, timestamp_us, action
            ORDER BY filename, file_row_number
        ) AS copy_number
    FROM (
        SELECT
            user_id,
            content_id,
            EPOCH_US(timestamp) AS timestamp_us,
            COALESCE(action, 'play') AS action,
            played_ms,
            context,
            filename,
            file_row_number
        FROM raw_events
    ) AS events
) AS numbered
LEFT JOIN actions ON actions.action = numbered.action
CROSS JOIN settings;

-- A listener who asked to be forgotten leaves no trace.
CREATE TABLE forgotten AS
SELECT DISTINCT user_id FROM raw_users WHERE deleted;

CREATE TABLE events AS
SELECT judged_events.*
FROM judged_events
LEFT JOIN forgotten ON forgotten.user_id = judged_events.user_id
WHERE judged_events.reason IS NULL AND forgotten.user_id IS NULL;
