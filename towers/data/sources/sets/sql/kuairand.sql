-- KuaiRand: what was shown, and what came of it. Opened, or viewed for long, is a play; shown and passed over is a skip.
CREATE VIEW shown AS
SELECT *, FALSE AS is_random FROM standard
UNION ALL
SELECT *, TRUE FROM random;

CREATE VIEW judged AS
SELECT
    *,
    TRY(EPOCH_MS(TRY_CAST(time_ms AS BIGINT))::TIMESTAMPTZ) AS moment,
    TRY_CAST(play_time_ms AS BIGINT) AS played_ms,
    CASE
        WHEN user_id = '' OR video_id = '' THEN 'no viewer or no video'
        WHEN TRY(EPOCH_MS(TRY_CAST(time_ms AS BIGINT))::TIMESTAMPTZ) IS NULL THEN 'no time'
    END AS fault
FROM shown;

CREATE VIEW faults AS
SELECT file, line, fault AS reason
FROM judged
WHERE fault IS NOT NULL;

CREATE VIEW events AS
SELECT
    user_id,
    video_id AS content_id,
    moment AS timestamp,
    action,
    CASE WHEN action IN ('play', 'skip') THEN played_ms END AS played_ms,
    CASE WHEN is_random THEN 'random' ELSE 'tab-' || tab END AS context
FROM (
    SELECT
        *,
        UNNEST(LIST_FILTER(
            [
                CASE WHEN is_click = '1' OR long_view = '1' THEN 'play' ELSE 'skip' END,
                CASE WHEN is_like = '1' THEN 'like' END,
                CASE WHEN is_hate = '1' THEN 'dislike' END
            ],
            lambda each: each IS NOT NULL
        )) AS action
    FROM judged
    WHERE fault IS NULL
);

-- Where a table names an id in several lines, the first one counts.
CREATE VIEW contents AS
SELECT
    video_id AS content_id,
    CASE WHEN author_id <> '' THEN ['artist-' || author_id] END AS artist_ids,
    CASE WHEN tag <> '' THEN LIST_TRANSFORM(STRING_SPLIT(tag, ','), lambda each: 'tag-' || TRIM(each)) END AS genres,
    TRY_CAST(upload_dt AS DATE) AS release_date,
    TRY_CAST(TRY_CAST(video_duration AS DOUBLE) AS BIGINT) AS duration_ms
FROM videos
WHERE video_id <> ''
QUALIFY ROW_NUMBER() OVER (PARTITION BY video_id ORDER BY file, line) = 1
ORDER BY file, line;

CREATE VIEW users AS
SELECT * EXCLUDE (file, line)
FROM profiles
WHERE user_id <> ''
QUALIFY ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY file, line) = 1
ORDER BY file, line;

-- A place of the feed that was drawn for it shows a video of the pool, each as likely as any other: the chance is that of
-- the video once the place was drawn. The pool is what the random log names.
SET VARIABLE pool = (SELECT COUNT(DISTINCT video_id) FROM judged WHERE is_random AND fault IS NULL);

CREATE VIEW impressions AS
SELECT
    'random-' || REGEXP_REPLACE(file, '^.*/', '') || '-' || line AS request_id,
    user_id,
    moment AS timestamp,
    video_id AS chosen_id,
    0 AS slot,
    'tab-' || tab AS shelf,
    1.0 / GETVARIABLE('pool') AS propensity,
    'uniform' AS policy_id,
    is_click = '1' AS clicked,
    played_ms
FROM judged
WHERE is_random AND fault IS NULL;
