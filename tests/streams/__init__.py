"""Tests of the live pipeline, on the real Kafka."""
