-- A listener who asked to be forgotten leaves no trace, not even among what is rejected.
CREATE TABLE forgotten AS
SELECT user_id FROM raw_users WHERE deleted AND user_id IS NOT NULL
UNION
SELECT user_id FROM asked_to_forget;

CREATE TABLE judged_users AS
SELECT
    raw_users.*,
    CASE
        WHEN raw_users.user_id IS NULL THEN 'user_id is null'
        WHEN ROW_NUMBER() OVER equals = 1 THEN NULL
        WHEN raw_users.row_hash = FIRST_VALUE(raw_users.row_hash) OVER equals THEN 'duplicate'
        ELSE 'user_id is in another row, with other values'
    END AS reason
FROM raw_users
LEFT JOIN forgotten ON forgotten.user_id = raw_users.user_id
WHERE forgotten.user_id IS NULL
WINDOW equals AS (PARTITION BY raw_users.user_id ORDER BY raw_users.filename, raw_users.file_row_number);
