-- Zones whose midnight is not on a full hour of UTC, and prices that begin or end within an hour, need the ledger's own grid: such sites
-- have a row a quarter-hour here, the others one an hour.
-- local_hour: what a clock on the wall of the site shows; a site without a published model is in UTC.
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
    WHERE site IN odd
    GROUP BY site, point, hour
) AS u
ASOF LEFT JOIN site_zones AS z ON u.site = z.site AND u.hour >= z.from_ts;
