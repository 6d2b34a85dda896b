-- Money, standard coal and CO2: dated prices and factors, joined where they are asked for. A figure without its price or factor is NULL.

-- Prices by the minute of the local day. A price of a slot is there once for every row of the schedule; a time over midnight is cut in two,
-- and the part after midnight belongs to the day before, its kind and its validity. `any` is any day whose kind is known, `always` needs none.
-- Prices of a site go before those that are for all sites.
CREATE OR REPLACE VIEW price_times AS
SELECT
    t.model_site AS site,
    t.medium AS medium,
    t.component AS component,
    t.price_row AS price_row,
    t.price AS price,
    t.months AS months,
    t.since AS since,
    t.until AS until,
    part.1 AS day_kind,
    part.2 AS from_minute,
    part.3 AS to_minute,
    part.4 AS days_before,
    part.5 AS slot_since,
    part.6 AS slot_until
FROM
(
    SELECT
        t.model_site AS model_site,
        t.medium AS medium,
        t.component AS component,
        (t.id, t.slot, t.months, t.valid_from) AS price_row,
        assumeNotNull(t.price) * u.denominator / u.numerator AS price,
        t.slot AS slot,
        arrayMap(m -> toUInt8OrZero(m), t.months) AS months,
        ifNull(t.valid_from, toDate32('1900-01-01')) AS since,
        ifNull(t.valid_to, toDate32('2299-12-31')) AS until,
        (t.site != '') = (max(t.site != '') OVER (PARTITION BY t.model_site, t.medium, t.component)) AS applies
    FROM tariffs AS t
    LEFT JOIN media AS m ON m.medium = t.medium
    INNER JOIN units AS u ON u.unit = if(t.unit = '', m.price_unit, t.unit)
    WHERE t.price IS NOT NULL AND t.component IN ('energy', 'surcharge', 'sewage')
) AS t
LEFT JOIN
(
    SELECT
        model_site,
        name,
        arrayConcat(
            [(day_kind, start, if(stop <= start, 1440, stop), 0, since, until)],
            if(stop <= start AND stop > 0, [(day_kind, 0, stop, 1, since, until)], [])
        ) AS parts
    FROM
    (
        SELECT
            model_site,
            name,
            day_kind,
            toInt32OrZero(splitByChar(':', `from`)[1]) * 60 + toInt32OrZero(splitByChar(':', `from`)[2]) AS start,
            toInt32OrZero(splitByChar(':', `to`)[1]) * 60 + toInt32OrZero(splitByChar(':', `to`)[2]) AS stop,
            ifNull(valid_from, toDate32('1900-01-01')) AS since,
            ifNull(valid_to, toDate32('2299-12-31')) AS until
        FROM schedules
    )
) AS s ON s.model_site = t.model_site AND s.name = t.slot
ARRAY JOIN if(t.slot = '', [('always', 0, 1440, 0, toDate32('1900-01-01'), toDate32('2299-12-31'))], s.parts) AS part
WHERE t.applies;

-- Kind of every known day of a site.
CREATE OR REPLACE VIEW site_days AS
SELECT s.id AS site, toDate32OrNull(c.date) AS day, c.kind AS kind
FROM sites AS s
INNER JOIN (SELECT model_site, id, toString(date) AS date, kind FROM calendars) AS c ON c.model_site = s.model_site AND c.id = s.calendar;

-- Cost of an hour of a point, yuan; NULL where no price is known for the hour, as in schemas/prices.py.
CREATE OR REPLACE VIEW cost_hourly AS
SELECT
    site,
    point,
    point_id,
    medium,
    hour,
    local_hour,
    any(h.quantity) AS quantity,
    groupUniqArrayIf((h.component, h.price_row, h.price), h.priced) AS prices,
    if(empty(prices), NULL, arraySum(p -> p.3, prices) * quantity) AS cost
FROM
(
    SELECT
        l.site AS site,
        l.point AS point,
        p.id AS point_id,
        p.medium AS medium,
        l.hour AS hour,
        l.local_hour AS local_hour,
        l.quantity AS quantity,
        t.component AS component,
        t.price_row AS price_row,
        t.price AS price,
        t.component != '' AND t.since <= toDate32(l.local_hour) AND toDate32(l.local_hour) < t.until
            AND (empty(t.months) OR has(t.months, toMonth(l.local_hour)))
            AND t.from_minute <= toHour(l.local_hour) * 60 + toMinute(l.local_hour)
            AND toHour(l.local_hour) * 60 + toMinute(l.local_hour) < t.to_minute
            AND t.slot_since <= toDate32(l.local_hour) - t.days_before AND toDate32(l.local_hour) - t.days_before < t.slot_until
            AND (t.day_kind IN ('always', if(t.days_before = 1, before.kind, today.kind))
                OR t.day_kind = 'any' AND if(t.days_before = 1, before.kind, today.kind) != '') AS priced
    FROM usage_local AS l
    INNER JOIN points AS p ON p.model_site = l.site AND p.number = l.point
    LEFT JOIN price_times AS t ON t.site = l.site AND t.medium = p.medium
    LEFT JOIN site_days AS today ON today.site = l.site AND today.day = toDate32(l.local_hour)
    LEFT JOIN site_days AS before ON before.site = l.site AND before.day = toDate32(l.local_hour) - 1
    WHERE p.of = '' AND (p.valid_from IS NULL OR p.valid_from <= toDate32(l.local_hour)) AND (p.valid_to IS NULL OR toDate32(l.local_hour) < p.valid_to)
) AS h
GROUP BY site, point, point_id, medium, hour, local_hour;

CREATE OR REPLACE VIEW cost_daily AS
SELECT site, point, point_id, medium, toDate(local_hour) AS day, sum(c.quantity) AS quantity, if(countIf(c.cost IS NULL) > 0, NULL, sum(c.cost)) AS cost
FROM cost_hourly AS c
GROUP BY site, point, point_id, medium, day;

-- Standard coal (kgce; basis equivalent and equal_value) and CO2 (kg; basis co2) of a site's streams by month, for every factor of the year;
-- without one, basis is '' and mass NULL.
CREATE OR REPLACE VIEW carbon_monthly AS
SELECT
    m.site AS site,
    m.point AS point,
    m.medium AS medium,
    m.month AS month,
    m.quantity AS quantity,
    ifNull(f.basis, '') AS basis,
    ifNull(f.region, '') AS region,
    ifNull(f.scope, '') AS scope,
    if(f.basis = '', NULL, toDecimal128(m.quantity, 0) * f.per_smallest) AS mass_kg
FROM
(
    SELECT site, point, medium, toStartOfMonth(day) AS month, sum(d.quantity) AS quantity
    FROM point_days AS d
    GROUP BY site, point, medium, month
) AS m
LEFT JOIN
(
    SELECT f.model_site AS model_site, f.medium AS medium, f.year AS year, f.basis AS basis, f.region AS region, f.scope AS scope,
        assumeNotNull(f.value) * u.denominator / u.numerator AS per_smallest
    FROM factors AS f
    LEFT JOIN media AS m ON m.medium = f.medium
    INNER JOIN units AS u ON u.unit = if(f.unit = '', m.price_unit, f.unit)
    WHERE f.value IS NOT NULL
) AS f ON f.model_site = m.site AND f.medium = m.medium AND f.year = toYear(m.month);

-- What each part of an episode cost, yuan; NULL where no price is known.
CREATE OR REPLACE VIEW episode_part_costs AS
SELECT
    site,
    rule,
    subject,
    episode,
    sequence,
    any(h.medium) AS medium,
    any(h.quantity) AS quantity,
    groupUniqArrayIf((h.component, h.price_row, h.price), h.priced) AS prices,
    if(empty(prices), NULL, arraySum(p -> p.3, prices) * quantity) AS cost
FROM
(
    SELECT
        e.site AS site,
        e.rule AS rule,
        e.subject AS subject,
        e.episode AS episode,
        e.topic AS topic,
        e.partition AS partition,
        e.sequence AS sequence,
        e.quantity AS quantity,
        e.local AS local,
        p.medium AS medium,
        t.component AS component,
        t.price_row AS price_row,
        t.price AS price,
        t.component != '' AND t.since <= toDate32(e.local) AND toDate32(e.local) < t.until
            AND (empty(t.months) OR has(t.months, toMonth(e.local)))
            AND t.from_minute <= toHour(e.local) * 60 + toMinute(e.local) AND toHour(e.local) * 60 + toMinute(e.local) < t.to_minute
            AND t.slot_since <= toDate32(e.local) - t.days_before AND toDate32(e.local) - t.days_before < t.slot_until
            AND (t.day_kind IN ('always', if(t.days_before = 1, before.kind, today.kind))
                OR t.day_kind = 'any' AND if(t.days_before = 1, before.kind, today.kind) != '') AS priced
    FROM
    (
        SELECT p.*, toDateTime(p.from_ts, 'UTC') + toIntervalSecond(z.offset_s) AS local
        FROM episode_parts AS p
        ASOF LEFT JOIN site_zones AS z ON p.site = z.site AND p.from_ts >= z.from_ts
    ) AS e
    LEFT JOIN points AS p ON p.model_site = e.site AND p.number = e.point
    LEFT JOIN price_times AS t ON t.site = e.site AND t.medium = p.medium
    LEFT JOIN site_days AS today ON today.site = e.site AND today.day = toDate32(e.local)
    LEFT JOIN site_days AS before ON before.site = e.site AND before.day = toDate32(e.local) - 1
    WHERE (p.valid_from IS NULL OR p.valid_from <= toDate32(e.local)) AND (p.valid_to IS NULL OR toDate32(e.local) < p.valid_to)
) AS h
GROUP BY site, rule, subject, episode, topic, partition, sequence;

-- What every alert is now.
CREATE OR REPLACE VIEW alerts AS
SELECT
    site,
    rule,
    subject,
    episode,
    argMax(a.state, a.sequence) AS state,
    argMax(a.severity, a.sequence) AS severity,
    argMax(a.started_at, a.sequence) AS started_at,
    minIf(a.valid_at, a.state = 'firing') AS fired_at,
    argMax(a.valid_at, a.sequence) AS since,
    min(a.known_at) AS first_known_at,
    max(a.known_at) AS known_at,
    argMax(a.config_version, a.sequence) AS config_version
FROM alert_events AS a
GROUP BY site, rule, subject, episode;

-- Episodes with what they wasted, by medium; a row without medium has wasted nothing that is measured. ended_at is NULL while it goes on.
CREATE OR REPLACE VIEW episodes AS
SELECT
    a.site AS site,
    a.rule AS rule,
    a.subject AS subject,
    a.episode AS episode,
    a.state AS state,
    a.severity AS severity,
    a.started_at AS started_at,
    if(a.state = 'firing', NULL, a.since) AS ended_at,
    ifNull(w.medium, '') AS medium,
    ifNull(w.quantity, 0) AS quantity,
    w.cost AS cost
FROM alerts AS a
LEFT JOIN
(
    SELECT site, rule, subject, episode, medium, sum(c.quantity) AS quantity, if(countIf(c.cost IS NULL) > 0, NULL, sum(c.cost)) AS cost
    FROM episode_part_costs AS c
    GROUP BY site, rule, subject, episode, medium
) AS w ON w.site = a.site AND w.rule = a.rule AND w.subject = a.subject AND w.episode = a.episode;
