-- Who and what has no row yet gets one: what is listed, by id; then what events alone name, by the day of their first
-- event and by id.
CREATE TABLE new_users AS
SELECT
    mentioned.user_id,
    (SELECT user_row FROM known_until)
    + ROW_NUMBER() OVER (ORDER BY MIN(mentioned.first_day), mentioned.user_id) - 1 AS user_row
FROM (
    SELECT user_id, -1000000 AS first_day FROM judged_users WHERE reason IS NULL
    UNION ALL
    SELECT user_id, first_day FROM seen_users
) AS mentioned
LEFT JOIN user_rows ON user_rows.user_id = mentioned.user_id
WHERE user_rows.user_id IS NULL
GROUP BY mentioned.user_id;

CREATE TABLE new_contents AS
SELECT
    mentioned.content_id,
    (SELECT content_row FROM known_until)
    + ROW_NUMBER() OVER (ORDER BY MIN(mentioned.first_day), mentioned.content_id) - 1 AS content_row
FROM (
    SELECT content_id, -1000000 AS first_day FROM listed_contents
    UNION ALL
    SELECT artist_id, -1000000 FROM named_artists
    UNION ALL
    SELECT content_id, first_day FROM seen_contents
) AS mentioned
LEFT JOIN content_rows ON content_rows.content_id = mentioned.content_id
WHERE content_rows.content_id IS NULL
GROUP BY mentioned.content_id;

INSERT INTO user_rows SELECT user_id, user_row FROM new_users;

INSERT INTO content_rows SELECT content_id, content_row, FALSE FROM new_contents;
