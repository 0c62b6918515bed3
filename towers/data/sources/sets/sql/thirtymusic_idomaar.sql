-- 30Music: a line is a kind, a number, a time (-1: none), what is so of it, and what it is linked to, both as JSON. Between
-- the fields stand tabs, or spaces in some files.
CREATE MACRO number_of(t) AS TRY_CAST(REGEXP_EXTRACT(t, '^[^\t]+\t\s*(-?\d+)', 1) AS BIGINT);
CREATE MACRO time_of(t) AS TRY_CAST(REGEXP_EXTRACT(t, '^[^\t]+\t\s*-?\d+\s+(-?\d+)', 1) AS BIGINT);
CREATE MACRO facts_of(t) AS TRY_CAST(REGEXP_EXTRACT(t, '^[^{]*(\{.*?\})(\s+\{.*)?\s*$', 1) AS JSON);
CREATE MACRO links_of(t) AS TRY_CAST(REGEXP_EXTRACT(t, '^[^{]*\{.*?\}\s+(\{.*\})\s*$', 1) AS JSON);
CREATE MACRO is_time(t) AS COALESCE(t >= 0 AND TRY(TO_TIMESTAMP(t)) IS NOT NULL, FALSE);
CREATE MACRO readable(t) AS COALESCE(TRY(URL_DECODE(REPLACE(t, '+', ' '))), t);

CREATE VIEW judged_sessions AS
SELECT
    *,
    TRY_CAST(links ->> '$.subjects[0].id' AS BIGINT) AS listener,
    CASE
        WHEN number IS NULL OR NOT is_time(second) THEN 'no number or no time'
        WHEN links IS NULL THEN 'no JSON of links'
        WHEN TRY_CAST(links ->> '$.subjects[0].id' AS BIGINT) IS NULL THEN 'no listener'
    END AS fault
FROM (SELECT *, number_of(text) AS number, time_of(text) AS second, links_of(text) AS links FROM sessions);

CREATE VIEW judged_loves AS
SELECT
    *,
    CASE
        WHEN NOT is_time(second) THEN 'no time'
        WHEN listener IS NULL OR track IS NULL THEN 'no listener or no track'
    END AS fault
FROM (
    SELECT
        *,
        time_of(text) AS second,
        TRY_CAST(links_of(text) ->> '$.subjects[0].id' AS BIGINT) AS listener,
        TRY_CAST(links_of(text) ->> '$.objects[0].id' AS BIGINT) AS track
    FROM loves
);

CREATE VIEW faults AS
SELECT file, line, fault AS reason FROM judged_sessions WHERE fault IS NOT NULL
UNION ALL
SELECT file, line, fault FROM judged_loves WHERE fault IS NOT NULL;

-- A play begins `playstart` seconds after its session; a time that it played of -1 is unknown.
CREATE VIEW events AS
SELECT
    CAST(listener AS VARCHAR) AS user_id,
    'track-' || play.id AS content_id,
    TRY(TO_TIMESTAMP(second + COALESCE(play.playstart, 0))) AS timestamp,
    CASE WHEN play.action = 'skip' THEN 'skip' ELSE 'play' END AS action,
    CASE WHEN play.playtime >= 0 THEN TRY(play.playtime * 1000) END AS played_ms,
    CAST(number AS VARCHAR) AS session_id
FROM (
    SELECT
        judged_sessions.* EXCLUDE (links),
        UNNEST(FROM_JSON(
            links -> '$.objects', '[{"id":"BIGINT","playstart":"BIGINT","playtime":"BIGINT","action":"VARCHAR"}]'
        )) AS play
    FROM judged_sessions
    WHERE fault IS NULL
)
WHERE play.id IS NOT NULL
UNION ALL
SELECT CAST(listener AS VARCHAR), 'track-' || track, TO_TIMESTAMP(second), 'like', NULL, NULL
FROM judged_loves
WHERE fault IS NULL;

CREATE TABLE tag_names AS
SELECT number_of(text) AS tag, MIN(facts_of(text) ->> '$.value') AS name FROM tags GROUP BY 1;

-- Where a file names a number in several lines, the first one counts.
CREATE VIEW tracks_once AS
FROM tracks
QUALIFY ROW_NUMBER() OVER (PARTITION BY number_of(text) ORDER BY file, line) = 1;

CREATE VIEW persons_once AS
FROM persons
QUALIFY ROW_NUMBER() OVER (PARTITION BY number_of(text) ORDER BY file, line) = 1;

CREATE VIEW profiles_once AS
FROM profiles
QUALIFY ROW_NUMBER() OVER (PARTITION BY number_of(text) ORDER BY file, line) = 1;

CREATE VIEW lists_once AS
FROM lists
QUALIFY ROW_NUMBER() OVER (PARTITION BY number_of(text) ORDER BY file, line) = 1;

CREATE TABLE track_tags AS
SELECT track, LIST(name ORDER BY place) AS genres
FROM (
    SELECT track, UNNEST(tag_ids) AS tag, GENERATE_SUBSCRIPTS(tag_ids, 1) AS place
    FROM (
        SELECT
            number_of(text) AS track,
            LIST_TRANSFORM(FROM_JSON(links_of(text) -> '$.tags', '[{"id":"BIGINT"}]'), lambda each: each.id) AS tag_ids
        FROM tracks_once
    )
) AS tagged
INNER JOIN tag_names USING (tag)
GROUP BY track;

-- A track is called `artist/_/title`, encoded as in an address. Its duration is in milliseconds, -1 where it is unknown.
CREATE VIEW contents AS
SELECT
    'track-' || known.track AS content_id,
    'track' AS kind,
    NULLIF(REGEXP_REPLACE(readable(facts ->> '$.name'), '^.*?/_/', ''), '') AS title,
    LIST_FILTER(
        LIST_TRANSFORM(FROM_JSON(links -> '$.artists', '[{"id":"BIGINT"}]'), lambda each: 'artist-' || each.id),
        lambda each: each IS NOT NULL
    ) AS artist_ids,
    'album-' || (links ->> '$.albums[0].id') AS album_id,
    track_tags.genres,
    CASE WHEN TRY_CAST(facts ->> '$.duration' AS BIGINT) > 0 THEN TRY_CAST(facts ->> '$.duration' AS BIGINT) END
        AS duration_ms
FROM (SELECT number_of(text) AS track, facts_of(text) AS facts, links_of(text) AS links FROM tracks_once) AS known
LEFT JOIN track_tags ON track_tags.track = known.track
WHERE known.track IS NOT NULL
UNION ALL
SELECT 'artist-' || number_of(text), 'artist', readable(facts_of(text) ->> '$.name'), NULL, NULL, NULL, NULL
FROM persons_once
WHERE number_of(text) IS NOT NULL;

CREATE VIEW users AS
SELECT
    CAST(number_of(text) AS VARCHAR) AS user_id,
    NULLIF(facts_of(text) ->> '$.gender', '') AS gender,
    TRY_CAST(facts_of(text) ->> '$.age' AS INTEGER) AS age,
    NULLIF(facts_of(text) ->> '$.country', '') AS country,
    NULLIF(facts_of(text) ->> '$.subscribertype', '') AS subscriber,
    CASE WHEN time_of(text) > 0 THEN TRY(CAST(TO_TIMESTAMP(time_of(text)) AS DATE)) END AS registered
FROM profiles_once
WHERE number_of(text) IS NOT NULL;

CREATE VIEW playlists AS
SELECT
    'playlist-' || number_of(text) AS playlist_id,
    NULLIF(facts_of(text) ->> '$.Title', '') AS title,
    'listener' AS curator,
    links_of(text) ->> '$.subjects[0].id' AS owner_id,
    CASE WHEN time_of(text) > 0 THEN TRY(TO_TIMESTAMP(time_of(text))) END AS created,
    COALESCE(
        LIST_FILTER(
            LIST_TRANSFORM(
                FROM_JSON(links_of(text) -> '$.objects', '[{"id":"BIGINT"}]'), lambda each: 'track-' || each.id
            ),
            lambda each: each IS NOT NULL
        ),
        []
    ) AS content_ids
FROM lists_once
WHERE number_of(text) IS NOT NULL;
