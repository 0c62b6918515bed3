-- What is left out of the events, with its reason: a fault of its own, or another event of the same listener, time,
-- content and action that came first, which is found while the events are merged into the log.
CREATE VIEW rejected_events AS
SELECT
    checked_events.* EXCLUDE (has_timestamp),
    CASE
        WHEN fault IS NOT NULL THEN fault
        WHEN repeated.differs THEN 'the same event is in another row, with other values'
        ELSE 'duplicate'
    END AS reason
FROM checked_events
LEFT JOIN repeated ON repeated.file = checked_events.file AND repeated.file_row = checked_events.file_row_number
WHERE fault IS NOT NULL OR repeated.file IS NOT NULL;
