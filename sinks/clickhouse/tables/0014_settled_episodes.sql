-- Episodes as they are known now: what the alerts told, with what settlements have taken back or added. `alerts` stays what people saw.

CREATE TABLE IF NOT EXISTS episode_changes
(
    site LowCardinality(String),
    rule LowCardinality(String),
    subject String,
    episode UInt64 COMMENT 'of the alert; where no alert told of it, its start in milliseconds since 1970',
    change Enum8('retracted' = 0, 'added' = 1) COMMENT 'one that became longer or shorter is retracted and added',
    state Enum8('firing' = 0, 'resolved' = 1, 'stale' = 2),
    severity LowCardinality(String),
    started_at DateTime64(3, 'UTC'),
    fired_at DateTime64(3, 'UTC') COMMENT 'when the alert would have fired',
    valid_at DateTime64(3, 'UTC') COMMENT 'when it ended, by the time of the events',
    topic LowCardinality(String),
    partition UInt32,
    sequence UInt64,
    offset UInt64 COMMENT 'of the settle record, which has the reason',
    known_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(valid_at)
ORDER BY (site, rule, subject, episode, sequence)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Every version of every episode: what alerts told of it, then what settlements made of it; the last one stands, unless it says that none does.
CREATE OR REPLACE VIEW episode_versions AS
SELECT
    v.site AS site,
    v.rule AS rule,
    v.subject AS subject,
    v.episode AS episode,
    v.state AS state,
    v.severity AS severity,
    v.started_at AS started_at,
    if(v.state = 'firing', NULL, v.valid_at) AS ended_at,
    v.stands AS stands,
    v.cause AS cause,
    v.known_at AS known_at,
    v.version AS version
FROM
(
    SELECT
        site, rule, subject, episode, toString(a.state) AS state, severity, started_at, valid_at, true AS stands, 'alert' AS cause, known_at, (0, sequence) AS version
    FROM alert_events AS a
    UNION ALL
    SELECT
        site, rule, subject, episode, toString(c.state) AS state, severity, started_at, valid_at,
        c.change = 'added' AS stands, 'settlement' AS cause, known_at, (1, sequence) AS version
    FROM episode_changes AS c
) AS v;

-- What each part of an episode cost, yuan; NULL where no price is known. Corrections of settlements are parts too, of their sign.
CREATE OR REPLACE VIEW episode_part_costs AS
SELECT
    site,
    rule,
    subject,
    episode,
    sequence,
    any(h.known_at) AS known_at,
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
        e.known_at AS known_at,
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

-- Episodes with what they wasted, by medium; a row without medium has wasted nothing that is measured. ended_at is NULL while it goes on; cause
-- says whether the alert still tells it as it is, or a settlement has mended it.
CREATE OR REPLACE VIEW episodes AS
SELECT
    a.site AS site,
    a.rule AS rule,
    a.subject AS subject,
    a.episode AS episode,
    a.state AS state,
    a.severity AS severity,
    a.started_at AS started_at,
    a.ended_at AS ended_at,
    ifNull(w.medium, '') AS medium,
    ifNull(w.quantity, 0) AS quantity,
    w.cost AS cost,
    a.cause AS cause
FROM
(
    SELECT
        site,
        rule,
        subject,
        episode,
        argMax(v.state, v.version) AS state,
        argMax(v.severity, v.version) AS severity,
        argMax(v.started_at, v.version) AS started_at,
        argMax(tuple(v.ended_at), v.version).1 AS ended_at,
        argMax(v.cause, v.version) AS cause
    FROM episode_versions AS v
    GROUP BY site, rule, subject, episode
    HAVING argMax(v.stands, v.version)
) AS a
LEFT JOIN
(
    SELECT site, rule, subject, episode, medium, sum(c.quantity) AS quantity, if(countIf(c.cost IS NULL) > 0, NULL, sum(c.cost)) AS cost
    FROM episode_part_costs AS c
    GROUP BY site, rule, subject, episode, medium
) AS w ON w.site = a.site AND w.rule = a.rule AND w.subject = a.subject AND w.episode = a.episode;

-- The same as it was known at a time: SELECT ... FROM episodes_as_of(as_of = '2026-04-01 00:00:00').
CREATE OR REPLACE VIEW episodes_as_of AS
SELECT
    a.site AS site,
    a.rule AS rule,
    a.subject AS subject,
    a.episode AS episode,
    a.state AS state,
    a.severity AS severity,
    a.started_at AS started_at,
    a.ended_at AS ended_at,
    ifNull(w.medium, '') AS medium,
    ifNull(w.quantity, 0) AS quantity,
    w.cost AS cost,
    a.cause AS cause
FROM
(
    SELECT
        site,
        rule,
        subject,
        episode,
        argMax(v.state, v.version) AS state,
        argMax(v.severity, v.version) AS severity,
        argMax(v.started_at, v.version) AS started_at,
        argMax(tuple(v.ended_at), v.version).1 AS ended_at,
        argMax(v.cause, v.version) AS cause
    FROM episode_versions AS v
    WHERE v.known_at <= {as_of:DateTime64(3)}
    GROUP BY site, rule, subject, episode
    HAVING argMax(v.stands, v.version)
) AS a
LEFT JOIN
(
    SELECT site, rule, subject, episode, medium, sum(c.quantity) AS quantity, if(countIf(c.cost IS NULL) > 0, NULL, sum(c.cost)) AS cost
    FROM episode_part_costs AS c
    WHERE c.known_at <= {as_of:DateTime64(3)}
    GROUP BY site, rule, subject, episode, medium
) AS w ON w.site = a.site AND w.rule = a.rule AND w.subject = a.subject AND w.episode = a.episode;
