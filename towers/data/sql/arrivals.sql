-- New events in codes, as the event log holds them. A session is known by a key that no version of a library changes.
CREATE VIEW arrivals AS
SELECT
    user_rows.user_row,
    COALESCE(content_rows.content_row, -1) AS content_row,
    checked_events.action_code,
    checked_events.timestamp_us,
    CAST(LEAST(COALESCE(checked_events.played_ms, -1), 2147483647) AS INTEGER) AS played_ms,
    COALESCE(context_codes.code, -1) AS context,
    COALESCE(device_codes.code, -1) AS device,
    COALESCE(MD5_NUMBER_LOWER(checked_events.session_id), 0) AS session_key,
    checked_events.file,
    checked_events.file_row_number
FROM checked_events
INNER JOIN user_rows ON user_rows.user_id = checked_events.user_id
LEFT JOIN content_rows ON content_rows.content_id = checked_events.content_id
LEFT JOIN context_codes ON context_codes.context = checked_events.context
LEFT JOIN device_codes ON device_codes.device = checked_events.device
WHERE checked_events.fault IS NULL;
