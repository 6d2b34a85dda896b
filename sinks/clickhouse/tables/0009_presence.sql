-- Who was in a room, by interval: counted where there is a people counter, else estimated.
CREATE TABLE IF NOT EXISTS model_occupancy_models
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    site String,
    space String,
    kind String,
    parameter String,
    value Nullable(Decimal(38, 12)),
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'parameters of the estimate of who is in a room, where the default does not do';

CREATE OR REPLACE VIEW occupancy_models AS
SELECT * EXCEPT (document, row)
FROM model_occupancy_models FINAL
WHERE document IN (SELECT document FROM current_documents);

-- probability and occupied are means over the interval, 0 to 1; people is the mean of a counter, NULL where presence is estimated.
CREATE OR REPLACE VIEW occupancy AS
SELECT
    g.site AS site,
    p.space AS space,
    g.from_ts AS from_ts,
    g.to_ts AS to_ts,
    if(p.role = 'occupancy', 'counted', 'estimated') AS how,
    avgIf(g.sum / g.count, p.role = 'presence_probability') / 100000 AS probability,
    if(how = 'counted', least(1, max(g.maximum)), avgIf(g.sum / g.count, p.role = 'presence')) AS occupied,
    if(how = 'counted', sumIf(g.sum / g.count, p.role = 'occupancy'), NULL) AS people
FROM gauges_current AS g
INNER JOIN points AS p ON p.model_site = g.site AND p.number = g.point
WHERE p.role IN ('occupancy', 'presence', 'presence_probability') AND p.space != '' AND g.count > 0
GROUP BY site, space, from_ts, to_ts, how;
