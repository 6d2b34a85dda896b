-- Times in which rules hold their tongue, as the model has them.

CREATE TABLE IF NOT EXISTS model_exemptions
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    alerts Array(String) COMMENT 'rules that it concerns; empty: all of them',
    subjects Array(String) COMMENT 'ids of what it concerns, and all that belongs to them; empty: all',
    tags Array(String) COMMENT 'only what has all of these tags',
    schedule String COMMENT 'named times of day; instead of day_kind and the clock',
    day_kind String,
    `from` String,
    `to` String,
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'times in which rules are not judged: a meeting, a cleaning shift';

CREATE OR REPLACE VIEW exemptions AS
SELECT * EXCEPT (document, row)
FROM model_exemptions FINAL
WHERE document IN (SELECT document FROM current_documents);
