-- Who and what has no row yet, in the order in which they get one: what is listed, by id; then what events alone name, by
-- the day of their first event and by id.
CREATE TABLE new_users AS
SELECT mentioned.user_id
FROM (
    SELECT user_id, -1000000 AS first_day FROM judged_users WHERE reason IS NULL
    UNION ALL
    SELECT user_id, first_day FROM seen_users
) AS mentioned
LEFT JOIN known_users ON known_users.user_id = mentioned.user_id
WHERE known_users.user_id IS NULL
GROUP BY mentioned.user_id
ORDER BY MIN(mentioned.first_day), mentioned.user_id;

CREATE TABLE new_contents AS
SELECT mentioned.content_id
FROM (
    SELECT content_id, -1000000 AS first_day FROM listed_contents
    UNION ALL
    SELECT artist_id, -1000000 FROM named_artists
    UNION ALL
    SELECT content_id, first_day FROM seen_contents
) AS mentioned
LEFT JOIN known_contents ON known_contents.content_id = mentioned.content_id
WHERE known_contents.content_id IS NULL
GROUP BY mentioned.content_id
ORDER BY MIN(mentioned.first_day), mentioned.content_id;
