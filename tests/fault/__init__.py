"""Nothing lost, nothing twice, whatever happens: an offline checker, a simulation, mutants, real faults, hostile bytes.

| module | holds |
|---|---|
| `checker` | the judge: reads topics and tables only, and an oracle |
| `sim/` | the real task and sink code over a simulated broker, server and clock, driven by a seed |
| `mutants` | rules of delivery, each broken on purpose, and who has to notice |
| `storm`, `load`, `members`, `watch` | faults on the real Kafka and the real ClickHouse engine, by a schedule from a seed |
| `hostile` | bytes that nobody should send, for every contract |
| `run` | `make fault`: all of it, one table, one JSON object |

Tests of single modules under one fault are beside the tests of those modules.
"""
