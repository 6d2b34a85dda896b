"""Tests of the public data sets; those that need the data skip where they are absent."""
