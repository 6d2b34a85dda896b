-- What the topics hold, row by row. Every row says which message it comes from; every insert is one block under a token, so the
-- deduplication window is part of the contract: a repeat within the last ten thousand blocks of a table changes nothing.

-- Readings as they arrived, also those that the worker set aside; 3.4 bytes each with the codecs below.
CREATE TABLE IF NOT EXISTS readings
(
    site LowCardinality(String),
    gateway LowCardinality(String),
    point UInt32 CODEC(Delta(4), LZ4),
    ts DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'time of the reading',
    value Int64 CODEC(DoubleDelta, LZ4) COMMENT 'register, delta: smallest unit of the medium; gauge: thousandths; state: 1',
    quality Enum8('good' = 0, 'estimated' = 1, 'suspect' = 2) CODEC(LZ4),
    mode Enum8('live' = 0, 'backfill' = 1) CODEC(LZ4),
    partition UInt32 CODEC(LZ4) COMMENT 'of meter.readings',
    offset UInt64 CODEC(DoubleDelta, LZ4) COMMENT 'of the message; its known_at is in event_log',
    INDEX by_offset offset TYPE minmax GRANULARITY 4
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (site, point, ts)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1,
    vertical_merge_algorithm_min_columns_to_activate = 1;

-- Newest reading of each point; merges keep one row a point.
CREATE TABLE IF NOT EXISTS latest_store
(
    site LowCardinality(String),
    point UInt32 CODEC(Delta(4), LZ4),
    ts DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4),
    value Int64 CODEC(LZ4),
    quality Enum8('good' = 0, 'estimated' = 1, 'suspect' = 2),
    mode Enum8('live' = 0, 'backfill' = 1),
    partition UInt32,
    offset UInt64
)
ENGINE = ReplacingMergeTree(ts)
ORDER BY (site, point)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Usage: the sum of the rows of a point over a span. Corrections are further rows.
CREATE TABLE IF NOT EXISTS ledger
(
    site LowCardinality(String),
    point UInt32 CODEC(Delta(4), LZ4),
    from_ts DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'not included',
    to_ts DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'included',
    quantity Int64 CODEC(T64, LZ4) COMMENT 'smallest unit of the medium: Wh, mL, g, m',
    how Enum8('measured' = 0, 'gap' = 1, 'estimated' = 2, 'declared' = 3, 'profiled' = 4) CODEC(LZ4),
    cause Enum8('reading' = 0, 'rollover' = 1, 'swap' = 2, 'reset' = 3, 'recount' = 4, 'settlement' = 5) CODEC(LZ4),
    topic LowCardinality(String) COMMENT 'input topic of the task',
    partition UInt32 CODEC(LZ4) COMMENT 'input partition of the task',
    sequence UInt64 CODEC(DoubleDelta, LZ4) COMMENT 'number of the row in its task and stream',
    offset UInt64 CODEC(DoubleDelta, LZ4) COMMENT 'of the input message',
    known_at DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4),
    INDEX by_sequence sequence TYPE minmax GRANULARITY 4
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(to_ts)
ORDER BY (site, point, to_ts, sequence)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1,
    vertical_merge_algorithm_min_columns_to_activate = 1;

-- Gauges and states by interval, every version; gauges_current has the newest.
CREATE TABLE IF NOT EXISTS gauges
(
    site LowCardinality(String),
    point UInt32 CODEC(Delta(4), LZ4),
    from_ts DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'not included',
    to_ts DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'included',
    count Int64 CODEC(T64, LZ4),
    sum Int64 CODEC(T64, LZ4),
    minimum Int64 CODEC(T64, LZ4),
    maximum Int64 CODEC(T64, LZ4),
    integral Int64 CODEC(T64, LZ4) COMMENT 'value times milliseconds',
    topic LowCardinality(String),
    partition UInt32 CODEC(LZ4),
    sequence UInt64 CODEC(DoubleDelta, LZ4),
    offset UInt64 CODEC(DoubleDelta, LZ4),
    known_at DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4),
    INDEX by_sequence sequence TYPE minmax GRANULARITY 4
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(to_ts)
ORDER BY (site, point, to_ts, sequence)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1,
    vertical_merge_algorithm_min_columns_to_activate = 1;

-- Readings that were accepted with a doubt, or set aside.
CREATE TABLE IF NOT EXISTS verdicts
(
    site LowCardinality(String),
    point UInt32 CODEC(Delta(4), LZ4),
    ts DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4),
    value Int64 CODEC(LZ4),
    code Enum8('none' = 0, 'rollover' = 1, 'dip' = 2, 'rate' = 3, 'reset' = 4, 'out_of_range' = 5, 'estimated' = 6, 'late' = 7, 'repeat_differs' = 8),
    topic LowCardinality(String),
    partition UInt32 CODEC(LZ4),
    sequence UInt64 CODEC(DoubleDelta, LZ4),
    offset UInt64 CODEC(DoubleDelta, LZ4),
    known_at DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(known_at)
ORDER BY (site, point, ts, sequence)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS alert_events
(
    site LowCardinality(String),
    rule LowCardinality(String),
    subject String,
    episode UInt64,
    state Enum8('firing' = 0, 'resolved' = 1, 'stale' = 2),
    severity LowCardinality(String),
    valid_at DateTime64(3, 'UTC') COMMENT 'since when it is so, by the time of the events',
    started_at DateTime64(3, 'UTC') COMMENT 'when the expression became true',
    config_version UInt64,
    topic LowCardinality(String),
    partition UInt32,
    sequence UInt64,
    offset UInt64,
    known_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(valid_at)
ORDER BY (site, rule, subject, episode, sequence)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- What an episode wasted, cut at 15 minutes, so that dated tariffs apply.
CREATE TABLE IF NOT EXISTS episode_parts
(
    site LowCardinality(String),
    rule LowCardinality(String),
    subject String,
    episode UInt64,
    point UInt32,
    from_ts DateTime64(3, 'UTC'),
    to_ts DateTime64(3, 'UTC'),
    quantity Int64,
    final Bool,
    topic LowCardinality(String),
    partition UInt32,
    sequence UInt64,
    offset UInt64,
    known_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(to_ts)
ORDER BY (site, rule, subject, episode, sequence)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Input that could not be used, whole, so that it can be sent again after the model is mended.
CREATE TABLE IF NOT EXISTS rejected
(
    topic LowCardinality(String),
    partition UInt32,
    sequence UInt64,
    offset UInt64,
    known_at DateTime64(3, 'UTC'),
    site String,
    reason LowCardinality(String),
    detail String,
    readings UInt32 COMMENT '0: the whole message',
    key String,
    raw String CODEC(ZSTD(3))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(known_at)
ORDER BY (topic, partition, sequence)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS waste_events
(
    site LowCardinality(String),
    event_id String,
    ts DateTime64(3, 'UTC'),
    kind Enum8('deposit' = 0, 'fill' = 1, 'collected' = 2, 'transported' = 3, 'received' = 4, 'used' = 5, 'disposed' = 6),
    station Nullable(String),
    bin Nullable(String),
    lot Nullable(String),
    waste_class Nullable(String),
    mass_g Nullable(Int64),
    fill_permille Nullable(Int32),
    verdict Nullable(Enum8('correct' = 0, 'wrong_class' = 1, 'mixed' = 2)),
    depositor Nullable(String),
    manifest Nullable(String),
    vehicle Nullable(String),
    destination Nullable(String),
    partition UInt32,
    offset UInt64,
    known_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (site, ts, offset)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS vehicle_events
(
    site LowCardinality(String),
    event_id String,
    ts DateTime64(3, 'UTC'),
    vehicle String,
    kind Enum8('trip_start' = 0, 'trip_end' = 1, 'state' = 2, 'fuel' = 3, 'charge' = 4, 'order_start' = 5, 'order_end' = 6),
    start_ts Nullable(DateTime64(3, 'UTC')),
    odometer_m Nullable(Int64),
    distance_m Nullable(Int64),
    ignition Nullable(Bool),
    speed_mm_s Nullable(Int64),
    latitude_e6 Nullable(Int64),
    longitude_e6 Nullable(Int64),
    fuel_ml Nullable(Int64),
    energy_wh Nullable(Int64),
    soc_permille Nullable(Int32),
    charger Nullable(String),
    `order` Nullable(String),
    partition UInt32,
    offset UInt64,
    known_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (site, vehicle, ts, offset)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- What people did about alerts.
CREATE TABLE IF NOT EXISTS alert_actions
(
    site LowCardinality(String),
    event_id String,
    ts DateTime64(3, 'UTC'),
    actor String,
    kind Enum8('acknowledge' = 0, 'assign' = 1, 'silence' = 2, 'comment' = 3, 'reopen' = 4, 'close' = 5),
    rule LowCardinality(String),
    subject String,
    episode UInt64,
    until_ts DateTime64(3, 'UTC'),
    assignee String,
    comment String,
    partition UInt32,
    offset UInt64,
    known_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(known_at)
ORDER BY (site, rule, subject, episode, offset)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- The archive: raw bytes of every message of the input topics, of config and of alert.actions. Replays read it.
CREATE TABLE IF NOT EXISTS event_log
(
    topic LowCardinality(String),
    partition UInt32,
    offset UInt64 CODEC(DoubleDelta, LZ4),
    timestamp DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'LogAppendTime: known_at',
    nulls UInt8 CODEC(LZ4) COMMENT '1: no key, 2: no value, 3: neither; else an empty one is empty',
    key String CODEC(ZSTD(1)),
    value String CODEC(ZSTD(3))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- How far each task had come, and the hash chain of its rows; merges keep the last of each minute.
CREATE TABLE IF NOT EXISTS chain_heads
(
    topic LowCardinality(String),
    partition UInt32,
    stream LowCardinality(String),
    minute DateTime('UTC'),
    tasks_offset UInt64 COMMENT 'offset in tasks',
    engine Int32,
    position UInt64 COMMENT 'offset of the next input message',
    clock DateTime64(3, 'UTC'),
    sequence UInt64 COMMENT 'rows of the stream so far',
    head FixedString(32)
)
ENGINE = ReplacingMergeTree(tasks_offset)
PARTITION BY toYYYYMM(minute)
ORDER BY (topic, partition, stream, minute)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Which document computes a site, from which offset on.
CREATE TABLE IF NOT EXISTS config_records
(
    site LowCardinality(String),
    topic LowCardinality(String),
    partition UInt32,
    offset UInt64,
    known_at DateTime64(3, 'UTC'),
    version UInt64,
    previous String,
    document FixedString(32),
    effective DateTime64(3, 'UTC') COMMENT '1970: at this offset',
    key_id String
)
ENGINE = MergeTree
ORDER BY (site, version, topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Messages of topics that only ganzhi writes, which cannot be read: never expected, never dropped.
CREATE TABLE IF NOT EXISTS unreadable
(
    topic LowCardinality(String),
    partition UInt32,
    offset UInt64,
    known_at DateTime64(3, 'UTC'),
    reason String,
    key String,
    value String
)
ENGINE = MergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;
