"""Where results go: `clickhouse/`, later `notify/` and `console/`. Imports only `schemas`.

A sink promises that a repeat changes nothing: rows are a function of the bytes of a range of offsets, and a range is
inserted once.
"""
