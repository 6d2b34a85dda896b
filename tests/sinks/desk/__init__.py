"""Tests of sinks.desk."""
