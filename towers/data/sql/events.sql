-- A listener who asked to be forgotten leaves no trace, not even among what is rejected.
CREATE TABLE forgotten AS
SELECT DISTINCT user_id FROM raw_users WHERE deleted AND user_id IS NOT NULL;

CREATE TABLE judged_users AS
SELECT
    raw_users.*,
    CASE
        WHEN raw_users.user_id IS NULL THEN 'user_id is null'
        WHEN ROW_NUMBER() OVER (
            PARTITION BY raw_users.user_id
            ORDER BY raw_users.filename, raw_users.file_row_number
        ) > 1 THEN 'duplicate'
    END AS reason
FROM raw_users
LEFT JOIN forgotten ON forgotten.user_id = raw_users.user_id
WHERE forgotten.user_id IS NULL;

-- Every raw event is judged: a reason to reject it, or none. The first of several equal events without fault is kept.
CREATE TABLE judged_events AS
SELECT
    checked.*,
    CASE
        WHEN fault IS NOT NULL THEN fault
        WHEN ROW_NUMBER() OVER (
            PARTITION BY user_id, content_id, timestamp_us, action, fault
            ORDER BY filename, file_row_number
        ) > 1 THEN 'duplicate'
    END AS reason
FROM (
    SELECT
        events.*,
        actions.action_code,
        CASE
            WHEN events.user_id IS NULL THEN 'user_id is null'
            WHEN events.timestamp_us IS NULL THEN 'timestamp is null'
            WHEN events.timestamp_us < settings.earliest_us THEN 'timestamp out of range'
            WHEN events.timestamp_us >= settings.latest_us THEN 'timestamp out of range'
            WHEN actions.action_code IS NULL THEN 'unknown action ''' || events.action || ''''
            WHEN events.content_id IS NULL AND actions.needs_content THEN 'content_id is null'
            WHEN events.played_ms_fault IS NOT NULL THEN 'played_ms is ' || events.played_ms_fault
            WHEN events.played_ms < 0 THEN 'played_ms is negative'
        END AS fault
    FROM (
        SELECT
            raw_events.user_id,
            content_id,
            EPOCH_US(timestamp) AS timestamp_us,
            COALESCE(action, 'play') AS action,
            played_ms,
            played_ms_fault,
            context,
            filename,
            file_row_number
        FROM raw_events
        LEFT JOIN forgotten ON forgotten.user_id = raw_events.user_id
        WHERE forgotten.user_id IS NULL
    ) AS events
    LEFT JOIN actions ON actions.action = events.action
    CROSS JOIN settings
) AS checked;

CREATE TABLE events AS
SELECT * FROM judged_events WHERE reason IS NULL;
