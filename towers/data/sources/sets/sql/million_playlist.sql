-- A playlist stands for a listener who heard it from top to bottom. Tracks have no times: their places stand for seconds.
CREATE TABLE taken_apart AS
SELECT 'playlist-' || list.pid AS playlist, list.name, list.collaborative, list.num_followers, list.tracks
FROM (SELECT UNNEST(playlists) AS list FROM slices)
WHERE list.pid IS NOT NULL;

CREATE VIEW entries AS
SELECT playlist, UNNEST(tracks) AS track FROM taken_apart;

CREATE VIEW events AS
SELECT playlist AS user_id, track.track_uri AS content_id, TRY(TO_TIMESTAMP(946684800 + track.pos)) AS timestamp
FROM entries;

CREATE VIEW contents AS
SELECT
    track.track_uri AS content_id,
    'track' AS kind,
    MIN(track.track_name) AS title,
    CASE WHEN MIN(track.artist_uri) IS NOT NULL THEN [MIN(track.artist_uri)] END AS artist_ids,
    MIN(track.album_uri) AS album_id,
    MAX(track.duration_ms) AS duration_ms
FROM entries
GROUP BY track.track_uri
UNION ALL
SELECT track.artist_uri, 'artist', MIN(track.artist_name), NULL, NULL, NULL
FROM entries
WHERE track.artist_uri IS NOT NULL
GROUP BY track.artist_uri;

CREATE VIEW users AS
SELECT playlist AS user_id, collaborative, num_followers FROM taken_apart;

CREATE VIEW playlists AS
SELECT
    playlist AS playlist_id,
    name AS title,
    'listener' AS curator,
    playlist AS owner_id,
    LIST_TRANSFORM(LIST_SORT(tracks), lambda each: each.track_uri) AS content_ids
FROM taken_apart;
