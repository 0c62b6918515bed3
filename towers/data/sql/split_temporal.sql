-- A global temporal split: the same two instants for everybody.
CREATE TABLE boundaries AS
SELECT
    users.user_row,
    COUNT(histories.user_row) AS num_events,
    COALESCE(SUM(CASE WHEN timestamp_us < validation_start_us THEN 1 ELSE 0 END), 0) AS num_train,
    COALESCE(SUM(CASE WHEN timestamp_us < test_start_us THEN 1 ELSE 0 END), 0) AS num_before_test
FROM users
LEFT JOIN histories ON histories.user_row = users.user_row
CROSS JOIN settings
GROUP BY users.user_row;
