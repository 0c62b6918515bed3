-- Who was forgotten earlier may still stand in users/ or playlists/, or in files of events that are read anew: these are
-- asked for by name.
CREATE VIEW named_in_lists AS
SELECT user_id FROM raw_users WHERE user_id IS NOT NULL
UNION
SELECT owner_id AS user_id FROM raw_playlists WHERE owner_id IS NOT NULL;

CREATE VIEW named_in_events AS
SELECT DISTINCT user_id FROM raw_events WHERE user_id IS NOT NULL;
