-- What a forgotten listener made goes with them.
CREATE VIEW gone_playlists AS
SELECT DISTINCT raw_playlists.playlist_id
FROM raw_playlists
INNER JOIN forgotten ON forgotten.user_id = raw_playlists.owner_id
WHERE raw_playlists.playlist_id IS NOT NULL;

-- Listed contents and playlists are judged as events are.
CREATE VIEW checked_contents AS
SELECT *, {'filename': filename, 'row': file_row_number} AS place
FROM (
    SELECT
        listed.*,
        CASE
            WHEN listed.content_id IS NULL THEN 'content_id is null'
            WHEN kinds.kind_code IS NULL THEN 'unknown kind ''' || listed.kind || ''''
            WHEN listed.duration_ms_fault IS NOT NULL THEN 'duration_ms is ' || listed.duration_ms_fault
            WHEN listed.duration_ms < 0 THEN 'duration_ms is negative'
        END AS fault
    FROM (
        SELECT
            content_id,
            COALESCE(kind, 'track') AS kind,
            raw_contents.title,
            artist_ids,
            album_id,
            genres,
            language,
            release_date,
            duration_ms,
            duration_ms_fault,
            explicit,
            audio,
            row_hash,
            dates_lost,
            raw_contents.filename,
            raw_contents.file_row_number
        FROM raw_contents
        LEFT JOIN gone_playlists AS gone ON gone.playlist_id = raw_contents.content_id AND raw_contents.kind = 'playlist'
        WHERE gone.playlist_id IS NULL
    ) AS listed
    LEFT JOIN kinds ON kinds.kind = listed.kind
) AS checked;

CREATE TABLE judged_contents AS
SELECT
    checked_contents.* EXCLUDE (place),
    CASE
        WHEN fault IS NOT NULL THEN fault
        WHEN repeated.content_id IS NULL OR place = repeated.first_place THEN NULL
        WHEN row_hash = repeated.first_hash THEN 'duplicate'
        ELSE 'content_id is in another row, with other values'
    END AS reason
FROM checked_contents
LEFT JOIN (
    SELECT content_id, MIN(place) AS first_place, MIN_BY(row_hash, place) AS first_hash
    FROM checked_contents
    WHERE fault IS NULL
    GROUP BY content_id
    HAVING COUNT(*) > 1
) AS repeated ON repeated.content_id = checked_contents.content_id;

CREATE VIEW checked_playlists AS
SELECT *, {'filename': filename, 'row': file_row_number} AS place
FROM (
    SELECT
        raw_playlists.*,
        CASE
            WHEN raw_playlists.playlist_id IS NULL THEN 'playlist_id is null'
            WHEN raw_playlists.content_ids IS NULL THEN 'content_ids is null'
            WHEN listed.content_id IS NOT NULL THEN 'playlist_id is also the content_id of a ' || listed.kind
        END AS fault
    FROM raw_playlists
    LEFT JOIN forgotten ON forgotten.user_id = raw_playlists.owner_id
    LEFT JOIN (
        SELECT content_id, kind FROM judged_contents WHERE reason IS NULL AND kind <> 'playlist'
    ) AS listed ON listed.content_id = raw_playlists.playlist_id
    WHERE forgotten.user_id IS NULL
) AS checked;

CREATE TABLE judged_playlists AS
SELECT
    checked_playlists.* EXCLUDE (place),
    CASE
        WHEN fault IS NOT NULL THEN fault
        WHEN repeated.playlist_id IS NULL OR place = repeated.first_place THEN NULL
        WHEN row_hash = repeated.first_hash THEN 'duplicate'
        ELSE 'playlist_id is in another row, with other values'
    END AS reason
FROM checked_playlists
LEFT JOIN (
    SELECT playlist_id, MIN(place) AS first_place, MIN_BY(row_hash, place) AS first_hash
    FROM checked_playlists
    WHERE fault IS NULL
    GROUP BY playlist_id
    HAVING COUNT(*) > 1
) AS repeated ON repeated.playlist_id = checked_playlists.playlist_id;

-- A playlist that contents/ lists as well is one content, with what contents/ says of it.
CREATE TABLE listed_contents AS
SELECT
    judged_contents.content_id,
    judged_contents.kind,
    COALESCE(judged_contents.title, lists.title) AS title,
    artist_ids,
    album_id,
    genres,
    language,
    release_date,
    duration_ms,
    explicit,
    audio
FROM judged_contents
LEFT JOIN (
    SELECT playlist_id, title FROM judged_playlists WHERE reason IS NULL
) AS lists ON lists.playlist_id = judged_contents.content_id
WHERE reason IS NULL
UNION ALL
SELECT
    lists.playlist_id, 'playlist', lists.title, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM judged_playlists AS lists
LEFT JOIN (
    SELECT content_id FROM judged_contents WHERE reason IS NULL
) AS listed ON listed.content_id = lists.playlist_id
WHERE lists.reason IS NULL AND listed.content_id IS NULL;

CREATE VIEW named_artists AS
SELECT DISTINCT artist_id
FROM (SELECT UNNEST(artist_ids) AS artist_id FROM listed_contents) AS named
WHERE artist_id IS NOT NULL;
