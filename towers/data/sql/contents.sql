-- Listed contents and playlists are judged as events are.
CREATE TABLE judged_contents AS
SELECT
    checked.*,
    CASE
        WHEN fault IS NOT NULL THEN fault
        WHEN ROW_NUMBER() OVER (PARTITION BY content_id, fault ORDER BY filename, file_row_number) > 1
            THEN 'duplicate'
    END AS reason
FROM (
    SELECT
        listed.*,
        CASE
            WHEN listed.content_id IS NULL THEN 'content_id is null'
            WHEN kinds.kind_code IS NULL THEN 'unknown kind'
            WHEN listed.duration_ms < 0 THEN 'duration_ms is negative'
        END AS fault
    FROM (
        SELECT
            content_id,
            COALESCE(kind, 'track') AS kind,
            title,
            artist_ids,
            album_id,
            genres,
            language,
            release_date,
            duration_ms,
            explicit,
            audio,
            filename,
            file_row_number
        FROM raw_contents
    ) AS listed
    LEFT JOIN kinds ON kinds.kind = listed.kind
) AS checked;

CREATE TABLE judged_playlists AS
SELECT
    checked.*,
    CASE
        WHEN fault IS NOT NULL THEN fault
        WHEN ROW_NUMBER() OVER (PARTITION BY playlist_id, fault ORDER BY filename, file_row_number) > 1
            THEN 'duplicate'
    END AS reason
FROM (
    SELECT
        raw_playlists.*,
        CASE
            WHEN raw_playlists.playlist_id IS NULL THEN 'playlist_id is null'
            WHEN raw_playlists.content_ids IS NULL THEN 'content_ids is null'
            WHEN listed.content_id IS NOT NULL THEN 'playlist_id is also a content_id'
        END AS fault
    FROM raw_playlists
    LEFT JOIN forgotten ON forgotten.user_id = raw_playlists.owner_id
    LEFT JOIN (
        SELECT content_id FROM judged_contents WHERE reason IS NULL
    ) AS listed ON listed.content_id = raw_playlists.playlist_id
    WHERE forgotten.user_id IS NULL
) AS checked;

CREATE TABLE listed_contents AS
SELECT
    content_id, kind, title, artist_ids, album_id, genres, language, release_date, duration_ms, explicit, audio
FROM judged_contents
WHERE reason IS NULL
UNION ALL
SELECT
    playlist_id, 'playlist', title, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM judged_playlists
WHERE reason IS NULL;

-- What was heard but never listed is known by its id alone, and so is an artist who is only named.
CREATE TABLE contents AS
SELECT
    ROW_NUMBER() OVER (ORDER BY content_id) - 1 AS content_row,
    everything.*
FROM (
    SELECT * FROM listed_contents
    UNION ALL
    SELECT unlisted.content_id, unlisted.kind, unlisted.title, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM (
        SELECT content_id, MIN(kind) AS kind, MIN(title) AS title
        FROM (
            SELECT content_id, 'track' AS kind, NULL AS title
            FROM events
            WHERE content_id IS NOT NULL
            UNION ALL
            SELECT artist_id, 'artist', artist_id
            FROM (SELECT UNNEST(artist_ids) AS artist_id FROM listed_contents) AS named
            WHERE artist_id IS NOT NULL
        ) AS mentioned
        GROUP BY content_id
    ) AS unlisted
    LEFT JOIN listed_contents ON listed_contents.content_id = unlisted.content_id
    WHERE listed_contents.content_id IS NULL
) AS everything;

-- An artist's contents and a playlist's contents: what stands in for their own vector.
CREATE TABLE members AS
SELECT owner.content_row AS owner_row, member.content_row AS member_row
FROM (
    SELECT UNNEST(artist_ids) AS owner_id, content_id AS member_id FROM listed_contents WHERE kind <> 'artist'
    UNION
    SELECT playlist_id, UNNEST(content_ids) FROM judged_playlists WHERE reason IS NULL
) AS pairs
INNER JOIN contents AS owner ON owner.content_id = pairs.owner_id
INNER JOIN contents AS member ON member.content_id = pairs.member_id
WHERE owner.content_row <> member.content_row;
