-- Yambda's times are seconds since a moment that was not told, a multiple of 5. Here that moment is the beginning of 2000.
-- Unliking takes a track out of the collection; undisliking has no counterpart and is left out.
CREATE VIEW told AS
SELECT
    CAST(uid AS VARCHAR) AS user_id,
    CAST(item_id AS VARCHAR) AS content_id,
    TRY(TO_TIMESTAMP(946684800 + timestamp)) AS timestamp,
    COALESCE(CAST(event_type AS VARCHAR), 'listen') AS told,
    CAST(played_ratio_pct AS BIGINT) AS played_percent,
    CASE WHEN is_organic = 1 THEN 'organic' WHEN is_organic = 0 THEN 'recommended' END AS context,
    CAST(track_length_seconds AS BIGINT) * 1000 AS duration_ms,
    item_id,
    ROW_NUMBER() OVER () AS place
FROM events_told;

CREATE TABLE heard AS
SELECT content_id, MIN(item_id) AS item_id, MAX(duration_ms) AS duration_ms, MIN(duration_ms) AS shortest_ms
FROM told
GROUP BY content_id;

-- A track of several lengths is known by the longest. What was played of it is the share that was told times that length,
-- so that the share stays what was told. A join hands rows on in any order, and of events at the same time the first is first.
CREATE VIEW events AS
SELECT
    told.user_id,
    told.content_id,
    told.timestamp,
    CASE told.told WHEN 'listen' THEN 'play' WHEN 'unlike' THEN 'unsave' ELSE told.told END AS action,
    CASE WHEN told.told = 'listen' THEN TRY(told.played_percent * heard.duration_ms // 100) END AS played_ms,
    told.context
FROM told
LEFT JOIN heard ON heard.item_id = told.item_id
WHERE told.told <> 'undislike'
ORDER BY told.place;

CREATE VIEW contents AS
SELECT
    heard.content_id,
    'track' AS kind,
    makers.artist_ids,
    records.album_id,
    heard.duration_ms
FROM heard
LEFT JOIN (
    SELECT item_id, LIST('artist-' || artist_id ORDER BY artist_id) AS artist_ids FROM artists GROUP BY item_id
) AS makers ON makers.item_id = heard.item_id
LEFT JOIN (
    SELECT item_id, 'album-' || MIN(album_id) AS album_id FROM albums GROUP BY item_id
) AS records ON records.item_id = heard.item_id;

CREATE VIEW vectors AS
SELECT heard.content_id, CAST(sounds.vector AS FLOAT[]) AS vector
FROM heard
INNER JOIN sounds ON sounds.item_id = heard.item_id;

CREATE VIEW remarks AS
SELECT COUNT(*) || ' events undislike have no counterpart and are left out' AS line
FROM told
WHERE told = 'undislike'
HAVING COUNT(*) > 0
UNION ALL
SELECT COUNT(*) || ' tracks are of several lengths and known by the longest; of what was played the share is kept'
FROM heard
WHERE duration_ms > shortest_ms
HAVING COUNT(*) > 0;
