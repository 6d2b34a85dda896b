"""Tests of schemas.rules."""
