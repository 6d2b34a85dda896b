"""Tests of `ganzhi/bench`."""
