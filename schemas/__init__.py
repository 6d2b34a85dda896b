"""What the data is: contracts, codec, site model, rules, units, settings, errors.

Imports nothing of ours. Start with `errors`, then `settings`, `topics`, `avro/`, `codec`, `decode`, `rows`,
`control`, then `model/` and `rules/`. Nothing here reads Kafka or ClickHouse, and nothing here computes a result.
"""
