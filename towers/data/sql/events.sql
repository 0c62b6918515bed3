-- Of whom was forgotten nothing is read; of whom came back, nothing that is from before.
CREATE TABLE unwanted AS
SELECT user_id, MAX(until_file) AS until_file
FROM (
    SELECT user_id, 2147483647 AS until_file FROM forgotten
    UNION ALL
    SELECT user_id, until_file FROM returned
) AS both_kinds
GROUP BY user_id;

-- Every raw event, with what is wrong with it.
CREATE VIEW checked_events AS
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
        raw_events.filename,
        file_row_number,
        files.file
    FROM raw_events
    INNER JOIN files ON files.filename = raw_events.filename
    LEFT JOIN unwanted ON unwanted.user_id = raw_events.user_id
    WHERE unwanted.user_id IS NULL OR files.file >= unwanted.until_file
) AS events
LEFT JOIN actions ON actions.action = events.action
CROSS JOIN settings;

-- Who and what the events name, how often, and on which day (since 1970) first: read once for all of it. Each row is of
-- one subject, and its other columns are null.
CREATE TABLE seen AS
SELECT
    user_id,
    content_id,
    context,
    device,
    fault,
    CASE
        WHEN GROUPING(user_id) = 0 THEN 'user'
        WHEN GROUPING(content_id) = 0 THEN 'content'
        WHEN GROUPING(context) = 0 THEN 'context'
        ELSE 'device'
    END AS subject,
    COUNT(*) AS num_events,
    MIN(FLOOR(timestamp_us / 86400000000)) AS first_day
FROM checked_events
GROUP BY GROUPING SETS ((fault, user_id), (fault, content_id), (fault, context), (fault, device));

CREATE VIEW seen_users AS
SELECT user_id, num_events, first_day FROM seen WHERE subject = 'user' AND fault IS NULL;

CREATE VIEW seen_contents AS
SELECT content_id, first_day FROM seen WHERE subject = 'content' AND fault IS NULL AND content_id IS NOT NULL;

CREATE VIEW seen_contexts AS
SELECT context FROM seen WHERE subject = 'context' AND fault IS NULL AND context IS NOT NULL;

CREATE VIEW seen_devices AS
SELECT device FROM seen WHERE subject = 'device' AND fault IS NULL AND device IS NOT NULL;

CREATE VIEW counted_events AS
SELECT
    CAST(COALESCE(SUM(num_events), 0) AS BIGINT) AS num_rows,
    CAST(COALESCE(SUM(num_events) FILTER (WHERE fault IS NOT NULL), 0) AS BIGINT) AS num_bad
FROM seen
WHERE subject = 'user';
