-- Who and what has no row yet gets one: what is listed, by id; then what events alone name, by the day of their first
-- event and by id.
CREATE TABLE new_users AS
SELECT
    mentioned.user_id,
    (SELECT num_users FROM known)
    + ROW_NUMBER() OVER (ORDER BY MIN(mentioned.first_day), mentioned.user_id) - 1 AS user_row
FROM (
    SELECT user_id, -1000000 AS first_day FROM judged_users WHERE reason IS NULL
    UNION ALL
    SELECT user_id, first_day FROM seen_users
) AS mentioned
LEFT JOIN known_users ON known_users.user_id = mentioned.user_id
WHERE known_users.user_id IS NULL
GROUP BY mentioned.user_id;

CREATE TABLE new_contents AS
SELECT
    mentioned.content_id,
    (SELECT num_contents FROM known)
    + ROW_NUMBER() OVER (ORDER BY MIN(mentioned.first_day), mentioned.content_id) - 1 AS content_row
FROM (
    SELECT content_id, -1000000 AS first_day FROM listed_contents
    UNION ALL
    SELECT artist_id, -1000000 FROM named_artists
    UNION ALL
    SELECT content_id, first_day FROM seen_contents
) AS mentioned
LEFT JOIN known_contents ON known_contents.content_id = mentioned.content_id
WHERE known_contents.content_id IS NULL
GROUP BY mentioned.content_id;

CREATE VIEW user_rows AS
SELECT user_id, user_row FROM known_users
UNION ALL
SELECT user_id, user_row FROM new_users;

CREATE VIEW content_rows AS
SELECT content_id, content_row, was_listed FROM known_contents
UNION ALL
SELECT content_id, content_row, FALSE AS was_listed FROM new_contents;

-- How many new events each listener has, by row.
CREATE VIEW counted_users AS
SELECT user_rows.user_row, seen_users.num_events
FROM seen_users
INNER JOIN user_rows ON user_rows.user_id = seen_users.user_id;
