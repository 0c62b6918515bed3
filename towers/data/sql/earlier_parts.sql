-- What the parts of an earlier state of the log, and its rejected rows, still hold of listeners who have left since.
CREATE VIEW gone_from_parts AS
SELECT DISTINCT parts_before.filename, parts_before.user_id
FROM parts_before
INNER JOIN forgotten ON forgotten.user_id = parts_before.user_id;

CREATE VIEW gone_from_rejected AS
SELECT DISTINCT rejected_before.user_id
FROM rejected_before
INNER JOIN forgotten ON forgotten.user_id = rejected_before.user_id;

-- Rows that were rejected because their request was that of a listener who has left since: they may be valid now.
CREATE VIEW stood_behind AS
SELECT rejected_before.request_id
FROM rejected_before
LEFT JOIN forgotten ON forgotten.user_id = rejected_before.user_id
WHERE
    rejected_before.reason = 'request_id is in another row, with another user_id'
    AND forgotten.user_id IS NULL
    AND rejected_before.request_id IN (
        SELECT parts_before.request_id
        FROM parts_before
        INNER JOIN forgotten ON forgotten.user_id = parts_before.user_id
    );
