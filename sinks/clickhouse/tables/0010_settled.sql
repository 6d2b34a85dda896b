-- Settlements, what was known when, and what of a whole its parts explain.

-- Records that started settlements, as they came; the worker rejects one that is not signed by a key of the site or out of turn.
CREATE TABLE IF NOT EXISTS settle_records
(
    site LowCardinality(String),
    sequence UInt64 COMMENT '1, 2, 3 … per site',
    from_ts DateTime64(3, 'UTC'),
    to_ts DateTime64(3, 'UTC'),
    reason String,
    key_id String COMMENT 'who signed',
    topic LowCardinality(String),
    partition UInt32,
    offset UInt64 COMMENT 'offset of the rows that it made',
    known_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (site, offset)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Zones whose midnight is not on a full hour of UTC need the ledger's own grid.
-- local_hour: what a clock on the wall of the site shows; a site without a published model is in UTC.
CREATE OR REPLACE VIEW usage_local AS
WITH odd AS (SELECT DISTINCT site FROM site_zones WHERE offset_s % 3600 != 0)
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

-- The ledger with names, local time and what made a row: for people who ask why.
CREATE OR REPLACE VIEW ledger_named AS
SELECT
    l.site AS site,
    p.id AS point_id,
    l.point AS point,
    p.medium AS medium,
    toDateTime(l.from_ts, 'UTC') + toIntervalSecond(z.offset_s) AS local_from,
    toDateTime(l.to_ts, 'UTC') + toIntervalSecond(z.offset_s) AS local_to,
    toStartOfMonth(toDateTime(l.to_ts - toIntervalMillisecond(1), 'UTC') + toIntervalSecond(z.offset_s)) AS month,
    l.quantity AS quantity,
    l.how AS how,
    l.cause AS cause,
    r.reason AS reason,
    l.known_at AS known_at,
    l.sequence AS sequence
FROM ledger AS l
ASOF LEFT JOIN site_zones AS z ON l.site = z.site AND l.to_ts > z.from_ts
LEFT JOIN (SELECT DISTINCT model_site, number, id, medium FROM points) AS p ON p.model_site = l.site AND p.number = l.point
LEFT JOIN settle_records AS r ON r.site = l.site AND r.offset = l.offset AND l.cause = 'settlement';

-- A month as it was published at a time: SELECT ... FROM month_as_of(as_of = '2026-04-01 00:00:00').
CREATE OR REPLACE VIEW month_as_of AS
SELECT site, point_id, medium, month, sum(l.quantity) AS quantity, sumIf(l.quantity, how != 'measured') AS not_measured
FROM ledger_named AS l
WHERE known_at <= {as_of:DateTime64(3)}
GROUP BY site, point_id, medium, month;

-- The rows that explain the difference between two of them: ... FROM changes_between(after = '2026-04-01', until = '2026-05-01').
CREATE OR REPLACE VIEW changes_between AS
SELECT *
FROM ledger_named
WHERE known_at > {after:DateTime64(3)} AND known_at <= {until:DateTime64(3)};

-- Every local day from the first to the last that a point is known for; quantity is NULL on a day of which nothing is known: that is not 0.
CREATE OR REPLACE VIEW usage_daily_known AS
SELECT
    s.site AS site,
    s.point AS point,
    s.day AS day,
    if(d.ledger_days = 0, NULL, d.quantity) AS quantity,
    if(d.ledger_days = 0, NULL, d.not_measured) AS not_measured
FROM
(
    SELECT site, point, arrayJoin(arrayMap(n -> first_day + n, range(toUInt32(last_day - first_day) + 1))) AS day
    FROM (SELECT site, point, min(u.day) AS first_day, max(u.day) AS last_day FROM usage_daily AS u GROUP BY site, point)
) AS s
LEFT JOIN (SELECT site, point, day, u.quantity AS quantity, u.not_measured AS not_measured, 1 AS ledger_days FROM usage_daily AS u) AS d
    ON d.site = s.site AND d.point = s.point AND d.day = s.day;

-- By the shares of those who had the space on that day, as the model now says, also when a move was recorded late; what nobody had is under
-- ''. Quantities are decimals: a third of a watt-hour is one.
CREATE OR REPLACE VIEW usage_by_department AS
SELECT
    p.site AS site,
    ifNull(t.department, '') AS department,
    p.medium AS medium,
    p.direction AS direction,
    p.day AS day,
    sum(toDecimal128(p.quantity, 12) * if(t.department = '', toDecimal128(1, 12), assumeNotNull(t.share)) / toDecimal128(1, 0)) AS quantity,
    sum(toDecimal128(p.not_measured, 12) * if(t.department = '', toDecimal128(1, 12), assumeNotNull(t.share)) / toDecimal128(1, 0)) AS not_measured
FROM point_days AS p
LEFT JOIN
(
    SELECT model_site, space, department, share, ifNull(valid_from, toDate32('1900-01-01')) AS since, ifNull(valid_to, toDate32('2299-12-31')) AS until
    FROM tenure
) AS t ON t.model_site = p.site AND t.space = p.space AND t.since <= p.day AND p.day < t.until
GROUP BY site, department, medium, direction, day;

-- The edges of each node on each day: what goes in, what is measured below, and whether each of them is known on that day.
CREATE OR REPLACE VIEW balance_edges AS
SELECT
    n.site AS site,
    n.node AS node,
    n.day AS day,
    n.point_id AS point_id,
    n.sign AS sign,
    u.known AS known,
    toDecimal128(u.quantity, 0) * n.share AS quantity,
    toDecimal128(u.not_measured, 0) * n.share AS not_measured
FROM
(
    SELECT
        b.model_site AS site,
        b.node AS node,
        b.point AS point_id,
        p.number AS point,
        assumeNotNull(b.sign) AS sign,
        ifNull(b.share, toDecimal128(1, 12)) AS share,
        d.day AS day
    FROM balance AS b
    INNER JOIN points AS p ON p.model_site = b.model_site AND p.id = b.point
    INNER JOIN (SELECT DISTINCT site, day FROM usage_daily) AS d ON d.site = b.model_site
    WHERE (p.valid_from IS NULL OR p.valid_from <= d.day) AND (p.valid_to IS NULL OR d.day < p.valid_to)
        AND (b.valid_from IS NULL OR b.valid_from <= d.day) AND (b.valid_to IS NULL OR d.day < b.valid_to)
) AS n
LEFT JOIN (SELECT site, point, day, d.quantity AS quantity, d.not_measured AS not_measured, true AS known FROM usage_daily AS d) AS u
    ON u.site = n.site AND u.point = n.point AND u.day = n.day;

-- The remainder of every node: what goes in less what is measured below, negative when the parts exceed the whole. A day on which an edge is
-- not known has no remainder (NULL), and says how many are not.
CREATE OR REPLACE VIEW balance_daily AS
SELECT
    site,
    node,
    day,
    sumIf(e.quantity, e.sign > 0) AS whole,
    sumIf(e.quantity, e.sign < 0) AS parts,
    if(countIf(not e.known) > 0, NULL, sum(e.quantity * e.sign)) AS remainder,
    sum(e.not_measured) AS not_measured,
    countIf(not e.known) AS unknown_edges
FROM balance_edges AS e
GROUP BY site, node, day;

-- Days on which a remainder is a larger share of the whole, in either direction, than the target `balance_remainder` of its node allows (or
-- of no node: of every one). A limit is a dated row of `targets`; where there is none, nothing is exceeded.
CREATE OR REPLACE VIEW balance_alerts AS
SELECT
    b.site AS site,
    b.node AS node,
    b.day AS day,
    b.whole AS whole,
    b.parts AS parts,
    assumeNotNull(b.remainder) AS remainder,
    if(b.whole = 0, NULL, toFloat64(assumeNotNull(b.remainder)) / toFloat64(b.whole)) AS share,
    argMin(t.value, t.scope = '') AS allowed,
    b.not_measured AS not_measured
FROM balance_daily AS b
INNER JOIN
(
    SELECT model_site, scope, assumeNotNull(value) AS value, ifNull(valid_from, toDate32('1900-01-01')) AS since, ifNull(valid_to, toDate32('2299-12-31')) AS until
    FROM targets
    WHERE indicator = 'balance_remainder'
) AS t ON t.model_site = b.site
WHERE b.remainder IS NOT NULL AND t.since <= b.day AND b.day < t.until AND t.scope IN ('', b.node)
GROUP BY site, node, day, whole, parts, remainder, not_measured
HAVING abs(toFloat64(remainder)) > toFloat64(allowed) * abs(toFloat64(whole));

-- Points that are shared out over rooms and others, e.g. a VRV outdoor unit by the running of its indoor units: how is always 'apportioned'.
-- These are views of a source that is counted where it is metered, so they are in no total. A day without weights stays with its source:
-- target ''.
CREATE OR REPLACE VIEW apportioned_daily AS
WITH shares AS
(
    SELECT
        a.model_site AS site,
        s.number AS point,
        s.id AS source_id,
        s.medium AS medium,
        a.target AS target,
        a.method AS method,
        w.number AS weight_number,
        if(a.method = 'area', ifNull(r.area_m2, toDecimal128(0, 12)), toDecimal128(1, 12)) AS fixed,
        ifNull(a.valid_from, toDate32('1900-01-01')) AS since,
        ifNull(a.valid_to, toDate32('2299-12-31')) AS until
    FROM apportion AS a
    INNER JOIN points AS s ON s.model_site = a.model_site AND s.id = a.source
    LEFT JOIN points AS w ON w.model_site = a.model_site AND w.id = a.weight_point
    LEFT JOIN spaces AS r ON r.model_site = a.model_site AND r.id = a.target
),
weights AS
(
    SELECT site, point, day, toDecimal128(d.quantity, 12) AS weight FROM usage_daily AS d
    UNION ALL
    SELECT site, point, toDate(local_ts) AS day, toDecimal128(sum(g.integral), 12) AS weight
    FROM
    (
        SELECT c.*, toDateTime(c.to_ts - toIntervalMillisecond(1), 'UTC') + toIntervalSecond(z.offset_s) AS local_ts
        FROM gauges_current AS c
        ASOF LEFT JOIN site_zones AS z ON c.site = z.site AND c.to_ts > z.from_ts
    ) AS g
    GROUP BY site, point, day
),
weighed AS
(
    SELECT
        d.site AS site,
        d.day AS day,
        s.source_id AS source_id,
        s.medium AS medium,
        s.target AS target,
        d.quantity AS whole,
        d.not_measured AS whole_not_measured,
        if(s.method IN ('weight', 'running_time'), ifNull(w.weight, toDecimal128(0, 12)), s.fixed) AS weight,
        sum(weight) OVER (PARTITION BY d.site, d.day, s.source_id) AS weights
    FROM usage_daily AS d
    INNER JOIN shares AS s ON s.site = d.site AND s.point = d.point
    LEFT JOIN weights AS w ON w.site = s.site AND w.point = s.weight_number AND w.day = d.day
    WHERE s.since <= d.day AND d.day < s.until
)
SELECT
    site,
    source_id,
    if(w.weights = 0, '', w.target) AS target,
    medium,
    day,
    sum(if(w.weights = 0, 0, toFloat64(w.whole) * toFloat64(w.weight) / toFloat64(w.weights))) + if(target = '', toFloat64(any(w.whole)), 0) AS quantity,
    'apportioned' AS how,
    if(any(w.whole) = 0, 0, any(w.whole_not_measured) / any(w.whole)) AS not_measured_share
FROM weighed AS w
GROUP BY site, source_id, target, medium, day;
