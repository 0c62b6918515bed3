-- Listeners to whom something was shown, of whom some may have been forgotten earlier.
CREATE VIEW shown_listeners AS
SELECT DISTINCT user_id FROM raw_impressions WHERE user_id IS NOT NULL;
