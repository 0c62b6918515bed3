-- A tweet with several hashtags has a line for each of them: one play.
CREATE VIEW judged AS
SELECT
    *,
    TRY_CAST(created_at AS TIMESTAMPTZ) AS moment,
    CASE
        WHEN user_id = '' OR track_id = '' THEN 'no listener or no track'
        WHEN TRY_CAST(created_at AS TIMESTAMPTZ) IS NULL THEN 'no time'
    END AS fault
FROM tweets;

CREATE VIEW faults AS
SELECT file, line, fault AS reason
FROM judged
WHERE fault IS NOT NULL;

CREATE VIEW events AS
SELECT user_id, track_id AS content_id, moment AS timestamp
FROM (SELECT user_id, track_id, moment, MIN(line) AS line FROM judged WHERE fault IS NULL GROUP BY ALL)
ORDER BY line;

CREATE VIEW contents AS
SELECT
    track_id AS content_id,
    CASE WHEN MAX(artist_id) <> '' THEN ['artist-' || MIN(NULLIF(artist_id, ''))] END AS artist_ids
FROM context_told
WHERE track_id <> ''
GROUP BY track_id;

CREATE VIEW users AS
SELECT user_id, MIN(NULLIF(lang, '')) AS language, MIN(NULLIF(time_zone, '')) AS time_zone
FROM context_told
WHERE user_id <> ''
GROUP BY user_id;
