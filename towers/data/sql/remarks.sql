-- What the clean tables say of each other, where it is allowed and probably not meant: one row each.

-- Events of what contents/ does not list. An artist who is only named, or a playlist, is known; so what is not listed has
-- the kind that is taken for granted.
CREATE VIEW unlisted_events AS
SELECT
    (SELECT COUNT(*) FROM judged_contents WHERE reason IS NULL) AS listed,
    (SELECT CAST(COALESCE(SUM(num_events), 0) AS BIGINT) FROM heard) AS total,
    CAST(COALESCE(SUM(num_events), 0) AS BIGINT) AS found,
    COUNT(*) AS contents,
    MIN_BY(content_id, {'below': -num_events, 'content_id': content_id}) AS example
FROM (
    SELECT contents.content_id, heard.num_events
    FROM heard
    INNER JOIN contents ON contents.content_row = heard.content_row
    LEFT JOIN listed_contents ON listed_contents.content_id = contents.content_id
    WHERE listed_contents.content_id IS NULL AND contents.kind = 'track'
) AS unlisted;

-- Entries of playlists that are no content.
CREATE VIEW unknown_entries AS
SELECT
    CAST(COALESCE(SUM(num_entries), 0) AS BIGINT) AS total,
    CAST(COALESCE(SUM(num_unknown), 0) AS BIGINT) AS found,
    COUNT(*) AS all_playlists,
    COUNT(example) AS playlists,
    MIN(CASE WHEN example IS NOT NULL THEN playlist_id END) AS playlist,
    MIN_BY(example, playlist_id) FILTER (WHERE example IS NOT NULL) AS example,
    COUNT(CASE WHEN num_entries = num_unknown THEN 1 END) AS empty,
    MIN(CASE WHEN num_entries = num_unknown THEN playlist_id END) AS empty_example
FROM (
    SELECT
        playlist_id,
        COUNT(*) AS num_entries,
        CAST(SUM(CASE WHEN is_unknown THEN 1 ELSE 0 END) AS BIGINT) AS num_unknown,
        MIN(CASE WHEN is_unknown THEN COALESCE(content_id, 'null') END) AS example
    FROM (
        SELECT lists.playlist_id, lists.content_id, contents.content_id IS NULL AS is_unknown
        FROM (
            SELECT playlist_id, UNNEST(content_ids) AS content_id FROM judged_playlists WHERE reason IS NULL
        ) AS lists
        LEFT JOIN contents ON contents.content_id = lists.content_id
    ) AS entries
    GROUP BY playlist_id
) AS counted;

-- Listeners of users/, and how many of them did something.
CREATE VIEW users_with_events AS
SELECT
    COUNT(*) AS total,
    COUNT(active_users.user_row) AS found,
    MIN(listed.user_id) AS example,
    (
        SELECT MIN(users.user_id)
        FROM users
        INNER JOIN active_users ON active_users.user_row = users.user_row
    ) AS heard_example
FROM (SELECT user_id FROM judged_users WHERE reason IS NULL) AS listed
LEFT JOIN users ON users.user_id = listed.user_id
LEFT JOIN active_users ON active_users.user_row = users.user_row;

-- Contents shorter than a second.
CREATE VIEW short_contents AS
SELECT
    COUNT(*) AS total,
    COUNT(*) FILTER (WHERE duration_ms < 1000) AS found,
    MIN(content_id) FILTER (WHERE duration_ms < 1000) AS id,
    MIN_BY(duration_ms, content_id) FILTER (WHERE duration_ms < 1000) AS number
FROM listed_contents
WHERE duration_ms > 0;
