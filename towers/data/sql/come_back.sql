-- Of listeners who were forgotten earlier and are listed, those who did something in a file that arrived since.
CREATE VIEW come_back AS
SELECT DISTINCT perhaps.user_id
FROM raw_events
INNER JOIN files ON files.filename = raw_events.filename
INNER JOIN perhaps ON perhaps.user_id = raw_events.user_id
WHERE files.file >= perhaps.until_file;
