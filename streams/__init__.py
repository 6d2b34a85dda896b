"""The live pipeline: the only place that knows Faust. Imports `schemas` and `processors`.

A message becomes a committed row in this order: `slabs` (raw record batches) → `consumer` (epochs, seeks) → `agents`
→ `task` (apply) → `transaction` (outputs and position at once) → `snapshots` (a cache). `sources/` makes the
messages.
"""
