-- Listeners: whoever did something, and whoever is listed (somebody without a history has a vector too).
CREATE TABLE users AS
SELECT
    ROW_NUMBER() OVER (ORDER BY user_id) - 1 AS user_row,
    user_id
FROM (
    SELECT user_id FROM events
    UNION
    SELECT user_id FROM judged_users WHERE reason IS NULL
) AS known;

-- Every listener's events in time order, each with what it says about their taste.
CREATE TABLE histories AS
SELECT
    marked.*,
    is_positive AND ROW_NUMBER() OVER (
        PARTITION BY user_row, content_row, is_positive
        ORDER BY ordinal
    ) = 1 AS is_discovery,
    -- A session is called by the place of its first event in the history: later events leave that as it is.
    CASE WHEN session_id IS NULL THEN -1 ELSE MIN(ordinal) OVER (PARTITION BY user_row, session_id) END AS session
FROM (
    SELECT
        placed.*,
        content_row >= 0
        AND (
            action IN ('like', 'save')
            OR (action = 'play' AND COALESCE(played_fraction, 1) >= min_played_fraction)
        ) AS is_positive
    FROM (
        SELECT
            users.user_row,
            COALESCE(contents.content_row, -1) AS content_row,
            events.action,
            events.action_code,
            events.timestamp_us,
            CASE
                WHEN contents.duration_ms > 0 AND events.played_ms IS NOT NULL
                    THEN LEAST(CAST(events.played_ms AS DOUBLE) / contents.duration_ms, 1)
            END AS played_fraction,
            events.context,
            events.session_id,
            events.device,
            ROW_NUMBER() OVER (
                PARTITION BY users.user_row
                ORDER BY events.timestamp_us, events.filename, events.file_row_number
            ) - 1 AS ordinal
        FROM events
        INNER JOIN users ON users.user_id = events.user_id
        LEFT JOIN contents ON contents.content_id = events.content_id
    ) AS placed
    CROSS JOIN settings
) AS marked;
