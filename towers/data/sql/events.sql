-- A listener who asked to be forgotten leaves no trace, not even among what is rejected.
CREATE TABLE forgotten AS
SELECT DISTINCT user_id FROM raw_users WHERE deleted AND user_id IS NOT NULL;

CREATE TABLE judged_users AS
SELECT
    raw_users.*,
    CASE
        WHEN raw_users.user_id IS NULL THEN 'user_id is null'
        WHEN ROW_NUMBER() OVER equals = 1 THEN NULL
        WHEN raw_users.row_hash = FIRST_VALUE(raw_users.row_hash) OVER equals THEN 'duplicate'
        ELSE 'user_id is in another row, with other values'
    END AS reason
FROM raw_users
LEFT JOIN forgotten ON forgotten.user_id = raw_users.user_id
WHERE forgotten.user_id IS NULL
WINDOW equals AS (PARTITION BY raw_users.user_id ORDER BY raw_users.filename, raw_users.file_row_number);

-- Every raw event is judged: a reason to reject it, or none. The first of several equal events without fault is kept;
-- those after it are duplicates where they say the same in every column.
CREATE TABLE judged_events AS
SELECT
    checked.*,
    CASE
        WHEN fault IS NOT NULL THEN fault
        WHEN ROW_NUMBER() OVER equals = 1 THEN NULL
        WHEN row_hash = FIRST_VALUE(row_hash) OVER equals THEN 'duplicate'
        ELSE 'the same event is in another row, with other values'
    END AS reason
FROM (
    SELECT
        events.*,
        actions.action_code,
        CASE
            WHEN events.user_id IS NULL THEN 'user_id is null'
            WHEN events.timestamp_us IS NULL AND events.has_timestamp THEN 'timestamp out of range'
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
            timestamp IS NOT NULL AS has_timestamp,
            COALESCE(action, 'play') AS action,
            played_ms,
            played_ms_fault,
            context,
            session_id,
            device,
            row_hash,
            filename,
            file_row_number
        FROM raw_events
        LEFT JOIN forgotten ON forgotten.user_id = raw_events.user_id
        WHERE forgotten.user_id IS NULL
    ) AS events
    LEFT JOIN actions ON actions.action = events.action
    CROSS JOIN settings
) AS checked
WINDOW equals AS (
    PARTITION BY user_id, content_id, timestamp_us, action, fault
    ORDER BY filename, file_row_number
);

CREATE TABLE events AS
SELECT * FROM judged_events WHERE reason IS NULL;
