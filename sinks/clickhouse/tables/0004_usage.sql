-- Usage by hour, kept by a materialized view; days and months of local time, and who used it, by views over the hours.
-- A row of the ledger counts in the hour that it ends in: a quarter-hour is in its hour, a month that was read by hand is in its last hour.

CREATE TABLE IF NOT EXISTS usage_store
(
    site LowCardinality(String),
    point UInt32 CODEC(Delta(4), LZ4),
    hour DateTime('UTC') CODEC(DoubleDelta, LZ4),
    quantity Int64 CODEC(T64, LZ4),
    not_measured Int64 CODEC(T64, LZ4) COMMENT 'part of it that is gap, estimated, declared or profiled',
    ledger_rows UInt64 CODEC(T64, LZ4)
)
ENGINE = SummingMergeTree((quantity, not_measured, ledger_rows))
PARTITION BY toYYYYMM(hour)
ORDER BY (site, point, hour)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- No GROUP BY: rows come in the order of the key, and the table adds up equal keys when it writes a part. That costs a third of what an
-- aggregation costs before it.
CREATE MATERIALIZED VIEW IF NOT EXISTS usage_feed TO usage_store AS
SELECT
    site,
    point,
    toDateTime(toStartOfHour(to_ts - toIntervalMillisecond(1)), 'UTC') AS hour,
    ledger.quantity AS quantity,
    if(how != 'measured', ledger.quantity, 0) AS not_measured,
    toUInt64(1) AS ledger_rows
FROM ledger;

-- hour: UTC, its start.
CREATE OR REPLACE VIEW usage_hourly AS
SELECT site, point, hour, sum(s.quantity) AS quantity, sum(s.not_measured) AS not_measured, sum(s.ledger_rows) AS ledger_rows
FROM usage_store AS s
GROUP BY site, point, hour;

-- Offset of local time, by site.
CREATE OR REPLACE VIEW site_zones AS
SELECT sites.id AS site, zone, from_ts, offset_s
FROM sites
INNER JOIN (SELECT * FROM zone_offsets FINAL) AS z ON z.zone = sites.time_zone;

-- local_hour: what a clock on the wall of the site shows; a site without a published model is in UTC.
CREATE OR REPLACE VIEW usage_local AS
SELECT
    u.site AS site,
    u.point AS point,
    u.hour AS hour,
    u.hour + toIntervalSecond(z.offset_s) AS local_hour,
    u.quantity AS quantity,
    u.not_measured AS not_measured
FROM usage_hourly AS u
ASOF LEFT JOIN site_zones AS z ON u.site = z.site AND u.hour >= z.from_ts;

CREATE OR REPLACE VIEW usage_daily AS
SELECT site, point, toDate(local_hour) AS day, sum(l.quantity) AS quantity, sum(l.not_measured) AS not_measured
FROM usage_local AS l
GROUP BY site, point, day;

CREATE OR REPLACE VIEW usage_monthly AS
SELECT site, point, toStartOfMonth(local_hour) AS month, sum(l.quantity) AS quantity, sum(l.not_measured) AS not_measured
FROM usage_local AS l
GROUP BY site, point, month;

-- What each point used each local day, with what the model in force says of the point on that day. Registers of time-of-use slots are
-- parts of a total and left out.
CREATE OR REPLACE VIEW point_days AS
SELECT
    d.site AS site,
    d.point AS point,
    p.id AS point_id,
    p.space AS space,
    p.equip AS equip,
    p.role AS role,
    p.medium AS medium,
    p.direction AS direction,
    p.sub_item AS sub_item,
    p.counts_in AS counts_in,
    d.day AS day,
    d.quantity AS quantity,
    d.not_measured AS not_measured
FROM usage_daily AS d
INNER JOIN points AS p ON p.model_site = d.site AND p.number = d.point
WHERE p.of = '' AND (p.valid_from IS NULL OR p.valid_from <= d.day) AND (p.valid_to IS NULL OR d.day < p.valid_to);

CREATE OR REPLACE VIEW usage_by_space AS
SELECT site, space, medium, direction, day, sum(p.quantity) AS quantity, sum(p.not_measured) AS not_measured
FROM point_days AS p
GROUP BY site, space, medium, direction, day;

CREATE OR REPLACE VIEW usage_by_sub_item AS
SELECT site, sub_item, medium, direction, day, sum(p.quantity) AS quantity, sum(p.not_measured) AS not_measured
FROM point_days AS p
WHERE sub_item != ''
GROUP BY site, sub_item, medium, direction, day;

-- counts_in: the total that a stream says it counts in; streams that count in none are in none.
CREATE OR REPLACE VIEW usage_by_total AS
SELECT site, counts_in, medium, day, sum(p.quantity) AS quantity, sum(p.not_measured) AS not_measured
FROM point_days AS p
WHERE counts_in != ''
GROUP BY site, counts_in, medium, day;

-- By the shares of those who had the space on that day; what nobody had is under ''. Quantities are decimals: a third of a watt-hour is one.
CREATE OR REPLACE VIEW usage_by_department AS
SELECT
    p.site AS site,
    ifNull(t.department, '') AS department,
    p.medium AS medium,
    p.direction AS direction,
    p.day AS day,
    sum(toDecimal128(p.quantity, 12) * if(t.department = '', toDecimal128(1, 12), assumeNotNull(t.share)) / toDecimal128(1, 0)) AS quantity
FROM point_days AS p
LEFT JOIN
(
    SELECT model_site, space, department, share, ifNull(valid_from, toDate32('1900-01-01')) AS since, ifNull(valid_to, toDate32('2299-12-31')) AS until
    FROM tenure
) AS t ON t.model_site = p.site AND t.space = p.space AND t.since <= p.day AND p.day < t.until
GROUP BY site, department, medium, direction, day;

-- A node's signed sum of a day: what goes in, less what is measured below. 0: everything is accounted for.
CREATE OR REPLACE VIEW balance_daily AS
SELECT
    b.model_site AS site,
    b.node AS node,
    d.day AS day,
    sum(toDecimal128(d.quantity, 0) * assumeNotNull(b.sign) * ifNull(b.share, toDecimal128(1, 12))) AS remainder
FROM usage_daily AS d
INNER JOIN points AS p ON p.model_site = d.site AND p.number = d.point
INNER JOIN balance AS b ON b.model_site = p.model_site AND b.point = p.id
WHERE (p.valid_from IS NULL OR p.valid_from <= d.day) AND (p.valid_to IS NULL OR d.day < p.valid_to)
    AND (b.valid_from IS NULL OR b.valid_from <= d.day) AND (b.valid_to IS NULL OR d.day < b.valid_to)
GROUP BY site, node, day;

-- Figures as they were published at a time: SELECT ... FROM ledger_as_of(as_of = '2026-04-01 00:00:00').
CREATE OR REPLACE VIEW ledger_as_of AS
SELECT *
FROM ledger
WHERE known_at <= {as_of:DateTime64(3)};

-- Newest version of each interval.
CREATE OR REPLACE VIEW gauges_current AS
SELECT
    site,
    point,
    from_ts,
    to_ts,
    argMax(g.count, (g.known_at, g.sequence)) AS count,
    argMax(g.sum, (g.known_at, g.sequence)) AS sum,
    argMax(g.minimum, (g.known_at, g.sequence)) AS minimum,
    argMax(g.maximum, (g.known_at, g.sequence)) AS maximum,
    argMax(g.integral, (g.known_at, g.sequence)) AS integral,
    max(g.known_at) AS known_at
FROM gauges AS g
GROUP BY site, point, from_ts, to_ts;

-- Newest reading of every point.
CREATE OR REPLACE VIEW latest AS
SELECT * EXCEPT (partition, offset)
FROM latest_store FINAL;
