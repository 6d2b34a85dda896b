"""Tests of sinks.notify."""
