-- A listener who asked to be forgotten leaves no trace, not even among what is rejected.
CREATE TABLE forgotten AS
SELECT user_id FROM raw_users WHERE deleted AND user_id IS NOT NULL
UNION
SELECT user_id FROM asked_to_forget;

CREATE VIEW checked_users AS
SELECT
    raw_users.*,
    CASE WHEN raw_users.user_id IS NULL THEN 'user_id is null' END AS fault,
    {'filename': raw_users.filename, 'row': raw_users.file_row_number} AS stands_at
FROM raw_users
LEFT JOIN forgotten ON forgotten.user_id = raw_users.user_id
WHERE forgotten.user_id IS NULL;

-- Of several rows without fault the first is kept; those after it are duplicates where they say the same in every
-- column. Few are told of twice, so that these are found first.
CREATE TABLE judged_users AS
SELECT
    checked_users.* EXCLUDE (fault, stands_at),
    CASE
        WHEN fault IS NOT NULL THEN fault
        WHEN repeated.user_id IS NULL OR stands_at = repeated.first_place THEN NULL
        WHEN row_hash = repeated.first_hash THEN 'duplicate'
        ELSE 'user_id is in another row, with other values'
    END AS reason
FROM checked_users
LEFT JOIN (
    SELECT user_id, MIN(stands_at) AS first_place, MIN_BY(row_hash, stands_at) AS first_hash
    FROM checked_users
    WHERE fault IS NULL
    GROUP BY user_id
    HAVING COUNT(*) > 1
) AS repeated ON repeated.user_id = checked_users.user_id;
