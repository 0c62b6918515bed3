-- Plays of LFM-2b. Titles and names that are empty are unknown.
CREATE VIEW judged AS
SELECT
    *,
    TRY_CAST(timestamp AS TIMESTAMPTZ) AS moment,
    CASE
        WHEN user_id = '' OR track_id = '' THEN 'no listener or no track'
        WHEN TRY_CAST(timestamp AS TIMESTAMPTZ) IS NULL THEN 'no time'
    END AS fault
FROM plays;

CREATE VIEW faults AS
SELECT file, line, fault AS reason
FROM judged
WHERE fault IS NOT NULL;

CREATE VIEW events AS
SELECT user_id, track_id AS content_id, moment AS timestamp
FROM judged
WHERE fault IS NULL;

-- The artist by number where the file has one, else by name. The album is the one of least number that it was heard on.
CREATE VIEW contents AS
SELECT
    tracks.track_id AS content_id,
    'track' AS kind,
    NULLIF(track_name, '') AS title,
    CASE WHEN artist_id IS NULL THEN NULL ELSE [artist_id] END AS artist_ids,
    'album-' || heard.album AS album_id
FROM (
    SELECT
        track_id,
        MIN(track_name) AS track_name,
        MIN('artist-' || COALESCE(NULLIF(artist_id, ''), NULLIF(artist_name, ''))) AS artist_id
    FROM tracks
    GROUP BY track_id
) AS tracks
LEFT JOIN (
    SELECT track_id, MIN(TRY_CAST(album_id AS BIGINT)) AS album FROM judged WHERE fault IS NULL GROUP BY track_id
) AS heard ON heard.track_id = tracks.track_id
UNION ALL
SELECT 'artist-' || COALESCE(NULLIF(artist_id, ''), artist_name), 'artist', MIN(artist_name), NULL, NULL
FROM tracks
WHERE artist_name <> ''
GROUP BY 1;

-- Where a file names a listener in several lines, the first one counts.
CREATE VIEW users AS
SELECT
    user_id,
    NULLIF(gender, '') AS gender,
    CASE WHEN TRY_CAST(age AS INTEGER) > 0 THEN TRY_CAST(age AS INTEGER) END AS age,
    NULLIF(country, '') AS country,
    TRY_CAST(TRY_CAST(creation_time AS TIMESTAMP) AS DATE) AS registered
FROM profiles
QUALIFY ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY file, line) = 1
ORDER BY file, line;
