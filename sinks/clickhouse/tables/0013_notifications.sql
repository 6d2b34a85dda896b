-- Who was told what, when, through which channel, and what became of it; the rows of the topic `notifications`.

CREATE TABLE IF NOT EXISTS notices
(
    site LowCardinality(String),
    rule LowCardinality(String),
    subject String,
    episode UInt64,
    id String,
    ts DateTime64(3, 'UTC') COMMENT 'when it was decided that somebody is to be told',
    step String COMMENT 'firing:SEVERITY, escalate:SEVERITY:N, remind:N, assign:ID, overdue:ID, reopened:ID, resolved, list:DAY, confirm:DAY, channel:NAME:STATE',
    severity LowCardinality(String),
    route LowCardinality(String),
    target LowCardinality(String) COMMENT 'channel, channel@roster or channel@person, as the model has it',
    channel LowCardinality(String) COMMENT 'empty: a mark that a list was made, which nobody is sent',
    people Array(String) COMMENT 'who was on duty or named then',
    language LowCardinality(String),
    partition UInt32,
    offset UInt64,
    known_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(known_at)
ORDER BY (site, rule, subject, episode, offset)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS notice_messages
(
    id String COMMENT 'goes with the message',
    ts DateTime64(3, 'UTC'),
    channel LowCardinality(String),
    notices Array(String) COMMENT 'ids of what it tells',
    people Array(String) COMMENT 'who is named in it',
    language LowCardinality(String),
    title String,
    text String COMMENT 'what people read',
    moved_from String COMMENT 'id of the message whose channel did not take it',
    partition UInt32,
    offset UInt64,
    known_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(known_at)
ORDER BY offset
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS notice_deliveries
(
    message String,
    ts DateTime64(3, 'UTC'),
    channel LowCardinality(String),
    outcome Enum8('sent' = 0, 'later' = 1, 'unknown' = 2, 'refused' = 3, 'moved' = 4),
    attempt UInt32,
    detail String COMMENT 'what the channel said, without secrets',
    partition UInt32,
    offset UInt64,
    known_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(known_at)
ORDER BY (message, offset)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- A row for each notice and message that tells it; a notice in no message yet has one with outcome `waiting`.
-- outcome: sent; moved (another row has the message of the channel that took over); later, unknown or refused: the last
-- attempt, another one follows unless it was refused ten times; on the way: there is no answer yet.
CREATE OR REPLACE VIEW notifications AS
WITH
    told AS
    (
        SELECT arrayJoin(notices) AS notice, id AS message, ts AS written_at, channel, people, title, text, moved_from
        FROM notice_messages
    ),
    ended AS
    (
        SELECT
            message,
            argMax(toString(outcome), offset) AS last_outcome,
            max(attempt) AS attempts,
            argMax(ts, offset) AS answered_at,
            argMax(detail, offset) AS detail
        FROM notice_deliveries
        GROUP BY message
    )
SELECT
    n.site AS site,
    n.rule AS rule,
    n.subject AS subject,
    n.episode AS episode,
    n.step AS step,
    n.severity AS severity,
    n.ts AS decided_at,
    n.route AS route,
    n.target AS target,
    n.people AS people,
    if(t.message = '', n.channel, t.channel) AS channel,
    multiIf(t.message = '', 'waiting', e.message = '', 'on the way', e.last_outcome) AS outcome,
    if(e.last_outcome = 'sent', e.answered_at, NULL) AS told_at,
    e.attempts AS attempts,
    e.detail AS detail,
    t.title AS title,
    t.text AS text,
    t.message AS message,
    t.moved_from AS moved_from,
    n.id AS notice
FROM notices AS n
LEFT JOIN told AS t ON t.notice = n.id
LEFT JOIN ended AS e ON e.message = t.message
WHERE n.channel != ''
SETTINGS join_use_nulls = 0;
