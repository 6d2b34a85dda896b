"""Tests of the embedded stack: real child processes, the real Kafka, the real engine."""
