"""The bridge: readings of a foreign Kafka topic, one message a reading or several, become batches of gateways.

`mapping` says what the fields mean, `flat_json` and `avro_program` with `avro_kernel` find them in the bytes of a slab
(`cells`), `targets` knows which point a message means, `readings` converts, `batches` packs, `process` reads, commits
and survives. No site model is kept here and nothing is computed: that is the worker's.
"""
