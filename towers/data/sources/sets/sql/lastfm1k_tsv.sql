-- Plays of Last.fm-1K. An artist or a track without a MusicBrainz id is known by its name; a slash within a name is
-- doubled, so that ` / ` parts the artist from the title.
CREATE VIEW named AS
SELECT
    *,
    TRY_CAST(timestamp AS TIMESTAMPTZ) AS moment,
    CASE WHEN artid <> '' THEN 'artist-' || artid WHEN artname <> '' THEN 'artist-' || REPLACE(artname, '/', '//') END
        AS artist_id,
    CASE
        WHEN traid <> '' THEN 'track-' || traid
        WHEN traname <> '' THEN 'track-' || REPLACE(artname, '/', '//') || ' / ' || REPLACE(traname, '/', '//')
    END AS track_id
FROM plays;

CREATE VIEW judged AS
SELECT
    *,
    CASE
        WHEN userid = '' THEN 'no listener'
        WHEN track_id IS NULL THEN 'no track'
        WHEN moment IS NULL THEN 'no time'
        WHEN moment >= CAST(GETVARIABLE('until') AS TIMESTAMPTZ) THEN 'after the set was collected'
    END AS fault
FROM named;

CREATE VIEW faults AS
SELECT file, line, fault AS reason
FROM judged
WHERE fault IS NOT NULL;

CREATE VIEW events AS
SELECT userid AS user_id, track_id AS content_id, moment AS timestamp
FROM judged
WHERE fault IS NULL;

CREATE VIEW contents AS
SELECT
    track_id AS content_id,
    'track' AS kind,
    MIN(NULLIF(traname, '')) AS title,
    CASE WHEN MIN(artist_id) IS NOT NULL THEN [MIN(artist_id)] END AS artist_ids
FROM judged
WHERE fault IS NULL
GROUP BY track_id
UNION ALL
SELECT artist_id, 'artist', MIN(NULLIF(artname, '')), NULL
FROM judged
WHERE fault IS NULL AND artist_id IS NOT NULL
GROUP BY artist_id;

-- Where a file names a listener in several lines, the first one counts.
CREATE VIEW users AS
SELECT
    "#id" AS user_id,
    NULLIF(gender, '') AS gender,
    TRY_CAST(age AS INTEGER) AS age,
    NULLIF(country, '') AS country,
    CAST(TRY_STRPTIME(registered, '%b %d, %Y') AS DATE) AS registered
FROM profiles
QUALIFY ROW_NUMBER() OVER (PARTITION BY "#id" ORDER BY file, line) = 1
ORDER BY file, line;
