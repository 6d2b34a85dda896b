"""The embedded stack: a real Apache Kafka and the real ClickHouse engine as child processes, on loopback, that die with their parent."""
