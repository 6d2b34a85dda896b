-- A row of the ledger that is longer than a quarter of an hour may lie over a midnight of its site: an hour of UTC in India (18:30) or Nepal
-- (18:15). It is cut there by time, and what comes of it is not measured: how an hour was used is not known. A row over more than an hour (a gap
-- that waits for settlement, a month that is read by hand) stays whole, in the day in which it ends.
CREATE OR REPLACE VIEW usage_local AS
WITH odd AS
(
    SELECT site FROM site_zones WHERE offset_s % 3600 != 0
    UNION DISTINCT
    SELECT model_site AS site
    FROM schedules
    WHERE (NOT endsWith(`from`, ':00') OR NOT endsWith(`to`, ':00')) AND (model_site, name) IN (SELECT model_site, slot FROM tariffs)
)
SELECT
    u.site AS site,
    u.point AS point,
    u.hour AS hour,
    u.hour + toIntervalSecond(z.offset_s) AS local_hour,
    u.quantity AS quantity,
    u.not_measured AS not_measured
FROM
(
    SELECT site, point, hour, quantity, not_measured
    FROM usage_hourly
    WHERE site NOT IN odd
    UNION ALL
    SELECT
        site,
        point,
        toStartOfFifteenMinutes(toDateTime(l.to_ts - toIntervalMillisecond(1), 'UTC')) AS hour,
        sum(l.quantity) AS quantity,
        sumIf(l.quantity, l.how != 'measured') AS not_measured
    FROM ledger AS l
    WHERE site IN odd AND NOT (l.from_ts < l.to_ts - toIntervalMinute(15) AND l.from_ts >= l.to_ts - toIntervalHour(1))
    GROUP BY site, point, hour
    UNION ALL
    SELECT
        site,
        point,
        toStartOfFifteenMinutes(toDateTime(piece.1 - toIntervalMillisecond(1), 'UTC')) AS hour,
        sum(piece.2) AS quantity,
        sumIf(piece.2, c.how != 'measured' OR c.cut) AS not_measured
    FROM
    (
        SELECT
            l.site AS site,
            l.point AS point,
            l.how AS how,
            addSeconds(toStartOfDay(l.to_ts - toIntervalMillisecond(1) + toIntervalSecond(z.offset_s)), -z.offset_s) AS midnight,
            l.from_ts < midnight AND midnight < l.to_ts AS cut,
            intDiv(l.quantity * dateDiff('millisecond', l.from_ts, midnight), dateDiff('millisecond', l.from_ts, l.to_ts)) AS first,
            arrayJoin(if(cut, [(toDateTime64(midnight, 3, 'UTC'), first), (l.to_ts, l.quantity - first)], [(l.to_ts, l.quantity)])) AS piece
        FROM ledger AS l
        ASOF LEFT JOIN site_zones AS z ON l.site = z.site AND l.to_ts > z.from_ts
        WHERE l.site IN odd AND l.from_ts < l.to_ts - toIntervalMinute(15) AND l.from_ts >= l.to_ts - toIntervalHour(1)
    ) AS c
    GROUP BY site, point, hour
) AS u
ASOF LEFT JOIN site_zones AS z ON u.site = z.site AND u.hour >= z.from_ts;
