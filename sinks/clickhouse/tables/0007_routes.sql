-- Who is told of which alerts.
CREATE TABLE IF NOT EXISTS model_rosters
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    person String,
    hours String,
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'who is on duty: dated rows, with hours of the week';

CREATE TABLE IF NOT EXISTS model_routes
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    rank Nullable(Int64),
    matcher String,
    severity String,
    hours String,
    send_to Array(String),
    language String,
    group_by Array(String),
    wait String,
    every String,
    escalate Array(String),
    resolved Nullable(Bool),
    below_yuan Nullable(Decimal(38, 12)),
    list_at String,
    confirm_after String,
    further Nullable(Bool),
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'which alerts are told to whom, when, and what follows where nobody takes them';

CREATE OR REPLACE VIEW rosters AS
SELECT * EXCEPT (document, row)
FROM model_rosters FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW routes AS
SELECT * EXCEPT (document, row)
FROM model_routes FINAL
WHERE document IN (SELECT document FROM current_documents);
