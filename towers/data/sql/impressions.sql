-- Rows of earlier parts that belong to a request of the new rows.
CREATE VIEW earlier_impressions AS
SELECT
    parts_named.request_id,
    parts_named.user_id,
    slot,
    HASH(
        parts_named.request_id, parts_named.user_id, timestamp, CAST(candidate_ids AS VARCHAR[]), chosen_id, slot, shelf,
        propensity, policy_id, space_id, clicked, played_ms, skipped, finished, saved
    ) AS row_hash,
    part_files.file,
    file_row_number
FROM parts_named
INNER JOIN part_files ON part_files.filename = parts_named.filename
WHERE parts_named.request_id IN (SELECT request_id FROM raw_impressions);

-- Every new row, with what is wrong with it. Of whom is forgotten nothing is read, and of whom came back nothing that is
-- from before; their rows are marked, to be left out without a trace.
CREATE TABLE checked_impressions AS
SELECT
    read.*,
    CASE
        WHEN is_forgotten THEN 'forgotten'
        WHEN request_id IS NULL THEN 'request_id is null'
        WHEN user_id IS NULL THEN 'user_id is null'
        WHEN timestamp_us IS NULL AND has_timestamp THEN 'timestamp out of range'
        WHEN timestamp_us IS NULL THEN 'timestamp is null'
        WHEN timestamp_us < earliest_us OR timestamp_us >= latest_us THEN 'timestamp out of range'
        WHEN slot_fault IS NOT NULL THEN 'slot is ' || slot_fault
        WHEN slot < 0 THEN 'slot is below 0'
        WHEN NOT is_chance THEN 'propensity is not above 0 and at most 1'
        WHEN NOT is_candidate THEN 'chosen_id is not among candidate_ids'
        WHEN played_ms_fault IS NOT NULL THEN 'played_ms is ' || played_ms_fault
        WHEN played_ms < 0 THEN 'played_ms is negative'
    END AS fault
FROM (
    SELECT
        raw_impressions.request_id,
        raw_impressions.user_id,
        raw_impressions.slot,
        raw_impressions.slot_fault,
        raw_impressions.played_ms,
        raw_impressions.played_ms_fault,
        EPOCH_US(raw_impressions.timestamp) AS timestamp_us,
        raw_impressions.timestamp IS NOT NULL AS has_timestamp,
        COALESCE(raw_impressions.propensity > 0 AND raw_impressions.propensity <= 1, TRUE) AS is_chance,
        COALESCE(
            LIST_CONTAINS(raw_impressions.candidate_ids, raw_impressions.chosen_id),
            raw_impressions.candidate_ids IS NULL OR raw_impressions.chosen_id IS NULL
        ) AS is_candidate,
        unwanted_shown.user_id IS NOT NULL AND impression_files.file < unwanted_shown.until_file AS is_forgotten,
        HASH(
            raw_impressions.request_id, raw_impressions.user_id, timestamp, CAST(candidate_ids AS VARCHAR[]), chosen_id,
            slot, shelf, propensity, policy_id, space_id, clicked, played_ms, skipped, finished, saved
        ) AS row_hash,
        impression_files.file,
        raw_impressions.file_row_number
    FROM raw_impressions
    INNER JOIN impression_files ON impression_files.filename = raw_impressions.filename
    LEFT JOIN unwanted_shown ON unwanted_shown.user_id = raw_impressions.user_id
) AS read
CROSS JOIN impression_bounds;

-- The first row of a request says whose it is, and the first of several rows of one slot is kept, those of earlier files
-- among them; one after it is a duplicate where it says the same in every column. Without slots, rows that say the same
-- are one.
CREATE TABLE left_out_impressions AS
SELECT
    file,
    file_row_number,
    fault AS reason
FROM checked_impressions
WHERE fault IS NOT NULL
UNION ALL
SELECT
    file,
    file_row_number,
    reason
FROM (
    SELECT
        told.*,
        CASE
            WHEN user_id <> listener_id THEN 'request_id is in another row, with another user_id'
            WHEN ROW_NUMBER() OVER equals = 1 THEN NULL
            WHEN row_hash = FIRST_VALUE(row_hash) OVER equals THEN 'duplicate'
            ELSE 'slot is in another row of the request, with other values'
        END AS reason
    FROM (
        SELECT
            sound.*,
            FIRST_VALUE(user_id) OVER (PARTITION BY request_id ORDER BY file, file_row_number) AS listener_id
        FROM (
            SELECT request_id, user_id, slot, row_hash, file, file_row_number
            FROM checked_impressions
            WHERE fault IS NULL
            UNION ALL
            SELECT request_id, user_id, slot, row_hash, file, file_row_number
            FROM earlier_impressions
        ) AS sound
    ) AS told
    WINDOW equals AS (
        PARTITION BY request_id, user_id, slot, CASE WHEN slot IS NULL THEN row_hash END
        ORDER BY file, file_row_number
    )
) AS judged
WHERE reason IS NOT NULL;
