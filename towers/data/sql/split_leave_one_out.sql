-- Leave one out, to compare with the literature: a listener's last positive event is the test, the one before it
-- validation. Whoever has fewer than three positive events is in training alone.
CREATE TABLE boundaries AS
SELECT
    users.user_row,
    COALESCE(summed.num_events, 0) AS num_events,
    CASE
        WHEN summed.num_positives >= 3 THEN summed.validation_ordinal
        ELSE COALESCE(summed.num_events, 0)
    END AS num_train,
    CASE
        WHEN summed.num_positives >= 3 THEN summed.test_ordinal
        ELSE COALESCE(summed.num_events, 0)
    END AS num_before_test
FROM users
LEFT JOIN (
    SELECT
        user_row,
        COUNT(*) AS num_events,
        SUM(CASE WHEN is_positive THEN 1 ELSE 0 END) AS num_positives,
        MAX(CASE WHEN is_positive AND from_the_end = 1 THEN ordinal END) AS test_ordinal,
        MAX(CASE WHEN is_positive AND from_the_end = 2 THEN ordinal END) AS validation_ordinal
    FROM (
        SELECT
            histories.*,
            ROW_NUMBER() OVER (PARTITION BY user_row, is_positive ORDER BY ordinal DESC) AS from_the_end
        FROM histories
    ) AS counted
    GROUP BY user_row
) AS summed ON summed.user_row = users.user_row;
