-- What each period holds of what training learns from, or lists are judged by.
CREATE TABLE periods AS
SELECT
    period,
    COUNT(*) AS positives,
    COUNT(DISTINCT user_row) AS listeners
FROM (
    SELECT
        histories.user_row,
        CASE
            WHEN histories.ordinal < boundaries.num_train THEN 'training'
            WHEN histories.ordinal < boundaries.num_before_test THEN 'validation'
            ELSE 'test'
        END AS period
    FROM histories
    INNER JOIN boundaries ON boundaries.user_row = histories.user_row
    WHERE histories.is_positive
) AS placed
GROUP BY period;
