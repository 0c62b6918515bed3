-- Ratings of MovieLens: each says that somebody saw a film, which is a play; below the option min_rating it is a skip.
CREATE VIEW judged AS
SELECT
    *,
    TRY(TO_TIMESTAMP(TRY_CAST(timestamp AS BIGINT))) AS moment,
    TRY_CAST(rating AS DOUBLE) AS stars,
    CASE
        WHEN userId = '' OR movieId = '' THEN 'no viewer or no film'
        WHEN TRY(TO_TIMESTAMP(TRY_CAST(timestamp AS BIGINT))) IS NULL THEN 'no time'
        WHEN TRY_CAST(rating AS DOUBLE) IS NULL OR NOT ISFINITE(TRY_CAST(rating AS DOUBLE)) THEN 'no rating'
    END AS fault
FROM ratings;

CREATE VIEW faults AS
SELECT file, line, fault AS reason
FROM judged
WHERE fault IS NOT NULL;

CREATE VIEW events AS
SELECT
    userId AS user_id,
    movieId AS content_id,
    moment AS timestamp,
    CASE WHEN stars < GETVARIABLE('min_rating') THEN 'skip' ELSE 'play' END AS action
FROM judged
WHERE fault IS NULL;

-- A title ends with its year. Where a table names an id in several lines, the first one counts.
CREATE VIEW contents AS
SELECT
    movieId AS content_id,
    NULLIF(title, '') AS title,
    CASE WHEN genres NOT IN ('', '(no genres listed)') THEN STRING_SPLIT(genres, '|') END AS genres,
    CAST(TRY_STRPTIME(REGEXP_EXTRACT(title, '\((\d{4})\)\s*$', 1), '%Y') AS DATE) AS release_date
FROM movies
QUALIFY ROW_NUMBER() OVER (PARTITION BY movieId ORDER BY file, line) = 1
ORDER BY file, line;

CREATE VIEW users AS
SELECT
    userId AS user_id,
    NULLIF(gender, '') AS gender,
    TRY_CAST(age AS INTEGER) AS age,
    NULLIF(occupation, '') AS occupation,
    NULLIF(zip, '') AS zip
FROM viewers
QUALIFY ROW_NUMBER() OVER (PARTITION BY userId ORDER BY file, line) = 1
ORDER BY file, line;
