"""What is computed: pure, deterministic steps from (state, batch) to rows. Imports only `schemas`.

No clock, no input or output, no logging, no await: time and settings arrive as data, so that live, recovery,
verification and what-if are callers of the same `advance`. Start with `layout` (indices), `state` (arrays), then
`advance`.
"""
