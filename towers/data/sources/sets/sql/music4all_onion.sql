-- Plays of Music4All-Onion; what is known of tracks comes from Music4All's own tables.
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

-- Where a table names a track in several lines, the first one counts.
CREATE VIEW information_once AS
FROM information
QUALIFY ROW_NUMBER() OVER (PARTITION BY id ORDER BY file, line) = 1;

CREATE VIEW metadata_once AS
FROM metadata
QUALIFY ROW_NUMBER() OVER (PARTITION BY id ORDER BY file, line) = 1;

CREATE VIEW genres_once AS
FROM genres_told
QUALIFY ROW_NUMBER() OVER (PARTITION BY id ORDER BY file, line) = 1;

CREATE VIEW languages_once AS
FROM languages
QUALIFY ROW_NUMBER() OVER (PARTITION BY id ORDER BY file, line) = 1;

-- An album is known by its artist and name, as two artists may call one alike.
CREATE VIEW contents AS
SELECT
    ids.id AS content_id,
    NULLIF(information.song, '') AS title,
    CASE WHEN information.artist <> '' THEN ['artist-' || information.artist] END AS artist_ids,
    CASE
        WHEN information.album_name <> ''
            THEN 'album-' || REPLACE(information.artist, '/', '//') || ' / ' || REPLACE(information.album_name, '/', '//')
    END AS album_id,
    CASE WHEN genres_told.genres <> '' THEN LIST_TRANSFORM(STRING_SPLIT(genres_told.genres, ','), lambda each: TRIM(each)) END
        AS genres,
    CASE WHEN languages.lang NOT IN ('', 'INTRUMENTAL', 'INSTRUMENTAL') THEN languages.lang END AS language,
    CAST(TRY_STRPTIME(metadata.release, ['%Y-%m-%d', '%Y-%m', '%Y']) AS DATE) AS release_date,
    TRY_CAST(TRY_CAST(metadata.duration_ms AS DOUBLE) AS BIGINT) AS duration_ms
FROM (
    SELECT id FROM information UNION SELECT id FROM metadata UNION SELECT id FROM genres_told UNION SELECT id FROM languages
) AS ids
LEFT JOIN information_once AS information USING (id)
LEFT JOIN metadata_once AS metadata USING (id)
LEFT JOIN genres_once AS genres_told USING (id)
LEFT JOIN languages_once AS languages USING (id);
