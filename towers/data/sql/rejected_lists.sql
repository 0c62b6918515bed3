-- How many rows of each list were read, have a fault or say the same as one before, and how many dates of those that are
-- kept nobody can tell.
CREATE VIEW counted_lists AS
SELECT
    table_name,
    COUNT(*) AS num_rows,
    COUNT(*) FILTER (WHERE reason <> 'duplicate') AS num_bad,
    COUNT(*) FILTER (WHERE reason = 'duplicate') AS num_repeated,
    CAST(COALESCE(SUM(dates_lost) FILTER (WHERE reason IS NULL), 0) AS BIGINT) AS dates_lost
FROM (
    SELECT 'contents' AS table_name, reason, dates_lost FROM judged_contents
    UNION ALL
    SELECT 'users' AS table_name, reason, dates_lost FROM judged_users
    UNION ALL
    SELECT 'playlists' AS table_name, reason, dates_lost FROM judged_playlists
) AS judged
GROUP BY table_name;

-- What is left out of each list, with all that the row said, for whoever is to mend it.
CREATE VIEW rejected_contents AS
SELECT * EXCLUDE (row_hash, dates_lost) FROM judged_contents WHERE reason IS NOT NULL;

CREATE VIEW rejected_users AS
SELECT * EXCLUDE (row_hash, dates_lost) FROM judged_users WHERE reason IS NOT NULL;

CREATE VIEW rejected_playlists AS
SELECT * EXCLUDE (row_hash, dates_lost) FROM judged_playlists WHERE reason IS NOT NULL;
