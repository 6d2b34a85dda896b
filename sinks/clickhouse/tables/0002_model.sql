-- The site model as it was published, a table for every table of `schemas.model.tables`: each version of each site, row by row. The views
-- without `model_` have the version that is in force. Numbers are exact decimals; lists are arrays; dates are local days.

CREATE TABLE IF NOT EXISTS model_institutions
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    parent String,
    class String,
    admin_code String,
    programme String,
    status String,
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'public institutions, with their parents';

CREATE TABLE IF NOT EXISTS model_sites
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    institution String,
    time_zone String,
    climate_zone String,
    weather_site String,
    calendar String,
    domain String,
    interval_s Nullable(Int64),
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'the unit of ordering and of state; the key of every message';

CREATE TABLE IF NOT EXISTS model_buildings
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    site String,
    class String,
    area_m2 Nullable(Decimal(38, 12)),
    energy_scope String,
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'buildings of a site';

CREATE TABLE IF NOT EXISTS model_spaces
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    building String,
    parent String,
    kind String,
    area_m2 Nullable(Decimal(38, 12)),
    calendar String,
    tags Array(String),
    sensitivity String,
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'floors, rooms, corridors, areas';

CREATE TABLE IF NOT EXISTS model_departments
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    institution String,
    parent String,
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'who uses spaces and answers for energy';

CREATE TABLE IF NOT EXISTS model_tenure
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    space String,
    department String,
    share Nullable(Decimal(38, 12)),
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'which department has which space, by dated shares that sum to 1';

CREATE TABLE IF NOT EXISTS model_gateways
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    site String,
    serial String,
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'who sends readings; the points of a gateway lie side by side';

CREATE TABLE IF NOT EXISTS model_equips
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    site String,
    space String,
    parent String,
    kind String,
    rated_w Nullable(Decimal(38, 12)),
    capacity Nullable(Decimal(38, 12)),
    serves Array(String),
    owner String,
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'devices that use, make or move something';

CREATE TABLE IF NOT EXISTS model_points
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    site String,
    gateway String,
    equip String,
    space String,
    role String,
    kind String,
    medium String,
    unit String,
    direction String,
    sub_item String,
    interval_s Nullable(Int64),
    clock String,
    max_age_s Nullable(Int64),
    rated Nullable(Decimal(38, 12)),
    of String,
    counts_in String,
    flow_use String,
    min Nullable(Decimal(38, 12)),
    max Nullable(Decimal(38, 12)),
    writable Nullable(Bool),
    safe_value Nullable(Decimal(38, 12)),
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String,
    number Nullable(UInt32),
    topic String,
    station String,
    bin String,
    vehicle String,
    waste_class String,
    measure String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'measured series';

CREATE TABLE IF NOT EXISTS model_meters
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    site String,
    serial String,
    maker String,
    protocol String,
    address String,
    ct Nullable(Decimal(38, 12)),
    pt Nullable(Decimal(38, 12)),
    digits Nullable(Int64),
    resolution Nullable(Decimal(38, 12)),
    pulse Nullable(Decimal(38, 12)),
    q1 Nullable(Decimal(38, 12)),
    accuracy String,
    calibration_due Nullable(Date32),
    trade String,
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'devices that count; a meter carries several points (registers)';

CREATE TABLE IF NOT EXISTS model_meter_install
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    meter String,
    register String,
    point String,
    first Nullable(Decimal(38, 12)),
    last Nullable(Decimal(38, 12)),
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'which register of which meter feeds which point, from when to when';

CREATE TABLE IF NOT EXISTS model_balance
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    node String,
    point String,
    sign Nullable(Int8),
    share Nullable(Decimal(38, 12)),
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'signed edges: what belongs under what; the remainder of a node is the signed sum';

CREATE TABLE IF NOT EXISTS model_apportion
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    source String,
    target String,
    method String,
    weight_point String,
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32)
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'how the quantity of one point is shared out, e.g. of a VRV outdoor unit over rooms';

CREATE TABLE IF NOT EXISTS model_stations
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    site String,
    space String,
    class Array(String),
    volume Nullable(Decimal(38, 12)),
    tare Nullable(Decimal(38, 12)),
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'waste stations';

CREATE TABLE IF NOT EXISTS model_bins
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    station String,
    class String,
    volume Nullable(Decimal(38, 12)),
    tare Nullable(Decimal(38, 12)),
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'bins of a station';

CREATE TABLE IF NOT EXISTS model_vehicles
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    site String,
    institution String,
    plate_hash String,
    energy String,
    special_purpose String,
    acquired Nullable(Date32),
    retired Nullable(Date32),
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'vehicles; each has one home site';

CREATE TABLE IF NOT EXISTS model_bays
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    site String,
    charger String,
    public Nullable(Bool),
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'parking bays with a charger';

CREATE TABLE IF NOT EXISTS model_contracts
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    parties Array(String),
    type String,
    media Array(String),
    baseline String,
    guarantee String,
    service_standard String,
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'energy and service contracts';

CREATE TABLE IF NOT EXISTS model_measures
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    contract String,
    cost Nullable(Decimal(38, 12)),
    scope Array(String),
    start Nullable(Date32),
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'saving measures of a contract';

CREATE TABLE IF NOT EXISTS model_tariffs
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    site String,
    medium String,
    slot String,
    months Array(String),
    component String,
    price Nullable(Decimal(38, 12)),
    unit String,
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'prices by slot and component; rows of one tariff share an id';

CREATE TABLE IF NOT EXISTS model_factors
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    medium String,
    region String,
    year Nullable(Int64),
    basis String,
    scope String,
    value Nullable(Decimal(38, 12)),
    unit String,
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'conversion to standard coal and to CO2';

CREATE TABLE IF NOT EXISTS model_quotas
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    class String,
    level String,
    denominator String,
    value Nullable(Decimal(38, 12)),
    unit String,
    correction String,
    exclusions Array(String),
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'quota values by class and level';

CREATE TABLE IF NOT EXISTS model_denominators
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    scope String,
    kind String,
    value Nullable(Decimal(38, 12)),
    method String,
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'areas, heads and beds that quotas are per';

CREATE TABLE IF NOT EXISTS model_targets
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    scope String,
    indicator String,
    value Nullable(Decimal(38, 12)),
    unit String,
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'targets of indicators';

CREATE TABLE IF NOT EXISTS model_calendars
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    date Nullable(Date32),
    kind String,
    name_zh String,
    name_en String,
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'kind of every known day of a calendar; beyond the last one: unknown';

CREATE TABLE IF NOT EXISTS model_schedules
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    name String,
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
COMMENT 'named times of day by kind of day';

CREATE TABLE IF NOT EXISTS model_people
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    id String,
    role String,
    scope Array(String),
    duty String,
    expires Nullable(Date32),
    name_zh String,
    name_en String,
    valid_from Nullable(Date32),
    valid_to Nullable(Date32),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'who is told, and who may do what';

CREATE TABLE IF NOT EXISTS model_limits
(
    document FixedString(32) COMMENT 'sha256',
    model_site LowCardinality(String) COMMENT 'site that the document is of',
    row UInt32,
    name String,
    site String,
    value Nullable(Int64),
    source String
)
ENGINE = ReplacingMergeTree
ORDER BY (document, row)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'numbers that change outputs, where the default does not do';

-- How far local time is from UTC, from when on; of every zone that a site has.
CREATE TABLE IF NOT EXISTS zone_offsets
(
    zone LowCardinality(String),
    from_ts DateTime64(3, 'UTC'),
    offset_s Int32
)
ENGINE = ReplacingMergeTree
ORDER BY (zone, from_ts)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- The version of each site that is in force: the newest whose time has come.
CREATE OR REPLACE VIEW current_documents AS
SELECT site, argMax(c.document, c.version) AS document, max(c.version) AS version
FROM config_records AS c
WHERE effective <= now64(3)
GROUP BY site;

CREATE OR REPLACE VIEW institutions AS
SELECT * EXCEPT (document, row)
FROM model_institutions FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW sites AS
SELECT * EXCEPT (document, row)
FROM model_sites FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW buildings AS
SELECT * EXCEPT (document, row)
FROM model_buildings FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW spaces AS
SELECT * EXCEPT (document, row)
FROM model_spaces FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW departments AS
SELECT * EXCEPT (document, row)
FROM model_departments FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW tenure AS
SELECT * EXCEPT (document, row)
FROM model_tenure FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW gateways AS
SELECT * EXCEPT (document, row)
FROM model_gateways FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW equips AS
SELECT * EXCEPT (document, row)
FROM model_equips FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW points AS
SELECT * EXCEPT (document, row)
FROM model_points FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW meters AS
SELECT * EXCEPT (document, row)
FROM model_meters FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW meter_install AS
SELECT * EXCEPT (document, row)
FROM model_meter_install FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW balance AS
SELECT * EXCEPT (document, row)
FROM model_balance FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW apportion AS
SELECT * EXCEPT (document, row)
FROM model_apportion FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW stations AS
SELECT * EXCEPT (document, row)
FROM model_stations FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW bins AS
SELECT * EXCEPT (document, row)
FROM model_bins FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW vehicles AS
SELECT * EXCEPT (document, row)
FROM model_vehicles FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW bays AS
SELECT * EXCEPT (document, row)
FROM model_bays FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW contracts AS
SELECT * EXCEPT (document, row)
FROM model_contracts FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW measures AS
SELECT * EXCEPT (document, row)
FROM model_measures FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW tariffs AS
SELECT * EXCEPT (document, row)
FROM model_tariffs FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW factors AS
SELECT * EXCEPT (document, row)
FROM model_factors FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW quotas AS
SELECT * EXCEPT (document, row)
FROM model_quotas FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW denominators AS
SELECT * EXCEPT (document, row)
FROM model_denominators FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW targets AS
SELECT * EXCEPT (document, row)
FROM model_targets FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW calendars AS
SELECT * EXCEPT (document, row)
FROM model_calendars FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW schedules AS
SELECT * EXCEPT (document, row)
FROM model_schedules FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW people AS
SELECT * EXCEPT (document, row)
FROM model_people FINAL
WHERE document IN (SELECT document FROM current_documents);

CREATE OR REPLACE VIEW limits AS
SELECT * EXCEPT (document, row)
FROM model_limits FINAL
WHERE document IN (SELECT document FROM current_documents);
