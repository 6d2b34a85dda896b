-- Doubts that need more than one reading of one point, over a span of readings: SELECT ... FROM reading_doubts(after = '2026-03-01', until = '2026-03-08').
--
-- stuck: read all day without a change, though of the other points of its role at the site that day, and of its own last days of that kind
-- (workday, holiday …; weekdays and weekends where no calendar says), at least the share `stuck_share` moved. So a meter that stands still at
-- night, on Sundays, or for good, is not stuck.
-- clipped: at the highest value of the span and of the five weeks before it, which is not its lowest one, in at least `clipped_run` readings in a
-- row. A load that knows only on and off does that too, so the limit is given by role.
-- frozen_differs: what a meter froze at the end of a month (role energy_frozen, `of` its running register) is not between the readings of the
-- running register before and after it, by more than `frozen_tolerance` smallest units.
--
-- The limits are dated rows of `targets` (indicator, value; scope: a role, or '' for every role). Where there is none, nothing is doubted.
CREATE OR REPLACE VIEW reading_doubts AS
WITH
limits AS
(
    SELECT model_site AS site, indicator, scope, assumeNotNull(value) AS limit,
        ifNull(valid_from, toDate32('1900-01-01')) AS since, ifNull(valid_to, toDate32('2299-12-31')) AS until
    FROM targets
    WHERE indicator IN ('stuck_share', 'clipped_run', 'frozen_tolerance') AND value IS NOT NULL
),
known AS
(
    SELECT r.site AS site, r.point AS point, p.role AS role, p.of AS of, p.id AS id, p.kind AS kind, r.ts AS ts, r.value AS value,
        toDate32(toDateTime(r.ts, 'UTC') + toIntervalSecond(z.offset_s)) AS day
    FROM (SELECT site, point, ts, argMax(q.value, (q.partition, q.offset)) AS value FROM readings AS q
        WHERE q.ts >= {after:DateTime64(3)} - toIntervalDay(35) AND q.ts < {until:DateTime64(3)} GROUP BY site, point, ts) AS r
    ASOF LEFT JOIN site_zones AS z ON r.site = z.site AND r.ts >= z.from_ts
    INNER JOIN points AS p ON p.model_site = r.site AND p.number = r.point
    WHERE (p.valid_from IS NULL OR p.valid_from <= day) AND (p.valid_to IS NULL OR day < p.valid_to)
),
days AS
(
    SELECT k.site AS site, k.point AS point, any(k.role) AS role, any(k.kind) AS kind, k.day AS day, min(k.ts) AS first, max(k.ts) AS last,
        min(k.value) AS low, max(k.value) AS high, low < high AS moved,
        arraySort(groupArray((k.ts, k.value))) AS listed,
        any(if(c.kind = '', if(toDayOfWeek(k.day) > 5, 'weekend', 'weekday'), c.kind)) AS day_kind
    FROM known AS k
    LEFT JOIN site_days AS c ON c.site = k.site AND c.day = k.day
    WHERE k.kind != 'state'
    GROUP BY site, point, day
),
judged AS
(
    SELECT d.*,
        sum(toUInt32(d.moved)) OVER others - toUInt32(d.moved) AS others_moved,
        count() OVER others - 1 AS others_read,
        sum(toUInt32(d.moved)) OVER before AS days_moved,
        count() OVER before AS days_read,
        max(d.high) OVER (PARTITION BY d.site, d.point) AS top,
        min(d.low) OVER (PARTITION BY d.site, d.point) AS bottom
    FROM days AS d
    WINDOW
        others AS (PARTITION BY d.site, d.role, d.day),
        before AS (PARTITION BY d.site, d.point, d.day_kind ORDER BY d.day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT j.site AS site, j.point AS point, j.first AS from_ts, j.last AS to_ts, j.high AS value, 'stuck' AS code
FROM judged AS j
INNER JOIN limits AS t ON t.site = j.site AND t.indicator = 'stuck_share'
WHERE t.scope IN ('', j.role) AND t.since <= j.day AND j.day < t.until AND j.first >= {after:DateTime64(3)} AND NOT j.moved
    AND length(j.listed) > 1 AND j.others_read > 1 AND j.days_read > 0
    AND j.others_moved >= t.limit * j.others_read AND j.days_moved >= t.limit * j.days_read
UNION ALL
SELECT j.site AS site, j.point AS point, run[1].1 AS from_ts, run[-1].1 AS to_ts, j.top AS value, 'clipped' AS code
FROM
(
    SELECT j.*, arrayJoin(arrayMap(s -> arrayFilter(x -> x.2 = j.top, s), arraySplit(x -> x.2 != j.top, j.listed))) AS run
    FROM judged AS j
    WHERE j.high = j.top AND j.top > j.bottom AND j.kind != 'register' AND j.first >= {after:DateTime64(3)}
) AS j
INNER JOIN limits AS t ON t.site = j.site AND t.indicator = 'clipped_run'
WHERE t.scope IN ('', j.role) AND t.since <= j.day AND j.day < t.until AND length(run) >= greatest(t.limit, 1)
UNION ALL
SELECT f.site AS site, f.point AS point, f.ts AS from_ts, f.ts AS to_ts, f.value AS value, 'frozen_differs' AS code
FROM
(
    SELECT f.site AS site, f.point AS point, f.ts AS ts, f.value AS value, f.day AS day, f.role AS role, f.of AS of, m.value AS before
    FROM (SELECT * FROM known WHERE role = 'energy_frozen' AND ts >= {after:DateTime64(3)}) AS f
    ASOF INNER JOIN known AS m ON m.site = f.site AND m.id = f.of AND f.ts >= m.ts
) AS f
ASOF INNER JOIN known AS n ON n.site = f.site AND n.id = f.of AND f.ts <= n.ts
INNER JOIN limits AS t ON t.site = f.site AND t.indicator = 'frozen_tolerance'
WHERE t.scope IN ('', f.role) AND t.since <= f.day AND f.day < t.until AND f.before <= n.value
    AND (f.value < f.before - t.limit OR f.value > n.value + t.limit);
