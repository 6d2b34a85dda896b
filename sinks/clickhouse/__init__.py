"""The ClickHouse sink: ranges of offsets in, one Native block per table out; migrations are the files in `tables/`."""
