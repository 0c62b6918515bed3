-- What training may know about a content: how often it was played and chosen before the first cut.
CREATE TABLE counts AS
SELECT
    contents.content_row,
    COALESCE(SUM(CASE WHEN seen.is_positive THEN 1 ELSE 0 END), 0) AS train_positives,
    COALESCE(SUM(CASE WHEN seen.action = 'play' THEN 1 ELSE 0 END), 0) AS train_plays,
    COUNT(seen.content_row) AS train_events
FROM contents
LEFT JOIN (
    SELECT histories.content_row, histories.is_positive, histories.action
    FROM histories
    INNER JOIN boundaries ON boundaries.user_row = histories.user_row
    WHERE histories.ordinal < boundaries.num_train
) AS seen ON seen.content_row = contents.content_row
GROUP BY contents.content_row;
