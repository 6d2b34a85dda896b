"""The embedded stack: a real Apache Kafka and the real ClickHouse engine, children on loopback that die with us."""
