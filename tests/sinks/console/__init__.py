"""The console against the real Kafka and the real ClickHouse engine: access, pages, exports, and a browser."""
