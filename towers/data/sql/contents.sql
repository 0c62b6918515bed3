-- Listeners: whoever did something, and whoever is listed (somebody without a history has a vector too).
CREATE TABLE users AS
SELECT user_rows.user_row, user_rows.user_id
FROM user_rows
LEFT JOIN (SELECT user_id FROM judged_users WHERE reason IS NULL) AS listed ON listed.user_id = user_rows.user_id
LEFT JOIN active_users ON active_users.user_row = user_rows.user_row
WHERE listed.user_id IS NOT NULL OR active_users.user_row IS NOT NULL;

-- The same with what users/ says of them. Features or not: evaluation divides listeners by any of the columns.
CREATE VIEW described_users AS
SELECT
    users.user_row,
    users.user_id,
    listed.* EXCLUDE (user_id, deleted, dates_lost, row_hash, filename, file_row_number, reason)
FROM users
LEFT JOIN (SELECT * FROM judged_users WHERE reason IS NULL) AS listed ON listed.user_id = users.user_id;

-- What was heard but is not listed is known by its id alone, and so is an artist who is only named.
CREATE TABLE contents AS
SELECT
    content_rows.content_row,
    everything.*,
    everything.kind = 'track' AND known.content_id IS NULL AND content_rows.was_listed AS is_withdrawn
FROM (
    SELECT * FROM listed_contents
    UNION ALL
    SELECT unlisted.content_id, unlisted.kind, unlisted.title, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM (
        SELECT content_id, MIN(kind) AS kind, MIN(title) AS title
        FROM (
            SELECT content_rows.content_id, 'track' AS kind, NULL AS title
            FROM heard
            INNER JOIN content_rows ON content_rows.content_row = heard.content_row
            UNION ALL
            SELECT artist_id, 'artist', artist_id FROM named_artists
        ) AS mentioned
        GROUP BY content_id
    ) AS unlisted
    LEFT JOIN listed_contents ON listed_contents.content_id = unlisted.content_id
    WHERE listed_contents.content_id IS NULL
) AS everything
INNER JOIN content_rows ON content_rows.content_id = everything.content_id
LEFT JOIN listed_contents AS known ON known.content_id = everything.content_id;

-- An artist's contents and a playlist's contents: what stands in for their own vector. Where a track has the id of
-- an artist, the id is the track's, and a track owns nothing.
CREATE TABLE members AS
SELECT owner.content_row AS owner_row, member.content_row AS member_row
FROM (
    SELECT 'artist' AS owner_kind, UNNEST(artist_ids) AS owner_id, content_id AS member_id
    FROM listed_contents
    WHERE kind <> 'artist'
    UNION
    SELECT 'playlist', playlist_id, UNNEST(content_ids)
    FROM judged_playlists
    WHERE reason IS NULL
) AS pairs
INNER JOIN contents AS owner ON owner.content_id = pairs.owner_id AND owner.kind = pairs.owner_kind
INNER JOIN contents AS member ON member.content_id = pairs.member_id
WHERE owner.content_row <> member.content_row;

-- Every playlist with what is known of it. Its contents are still ids, in the order that its maker gave them.
CREATE TABLE playlists AS
SELECT
    contents.content_row,
    lists.curator,
    lists.owner_id,
    lists.created,
    lists.content_ids
FROM judged_playlists AS lists
INNER JOIN contents ON contents.content_id = lists.playlist_id AND contents.kind = 'playlist'
WHERE lists.reason IS NULL;

CREATE VIEW durations AS
SELECT content_row, duration_ms FROM contents WHERE duration_ms > 0;

CREATE VIEW withdrawn_contents AS
SELECT content_row FROM contents WHERE is_withdrawn;
