-- Mostly no earlier part names a request of the new rows: only parts that do are read in whole rows.
CREATE VIEW asked_parts AS
SELECT DISTINCT filename
FROM parts_before
WHERE request_id IN (SELECT request_id FROM raw_impressions);
