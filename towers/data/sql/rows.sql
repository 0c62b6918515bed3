-- Who and what has no row yet, in the order in which they get one: what is listed, by id; then what events alone name, by
-- the day of their first event and by id.
CREATE TABLE new_users AS
SELECT named.user_id
FROM (
    SELECT user_id, MIN(first_day) AS first_day
    FROM (
        SELECT user_id, -1000000 AS first_day FROM judged_users WHERE reason IS NULL
        UNION ALL
        SELECT user_id, first_day FROM seen_users
    ) AS mentioned
    GROUP BY user_id
) AS named
LEFT JOIN known_users ON known_users.user_id = named.user_id
WHERE known_users.user_id IS NULL
ORDER BY named.first_day, named.user_id;

CREATE TABLE new_contents AS
SELECT named.content_id
FROM (
    SELECT content_id, MIN(first_day) AS first_day
    FROM (
        SELECT content_id, -1000000 AS first_day FROM listed_contents
        UNION ALL
        SELECT artist_id, -1000000 FROM named_artists
        UNION ALL
        SELECT content_id, first_day FROM seen_contents
    ) AS mentioned
    GROUP BY content_id
) AS named
LEFT JOIN known_contents ON known_contents.content_id = named.content_id
WHERE known_contents.content_id IS NULL
ORDER BY named.first_day, named.content_id;
