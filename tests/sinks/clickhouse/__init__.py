"""Tests of the ClickHouse sink, on the real engine and the real Kafka."""
