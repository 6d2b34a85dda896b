"""The compiled heart: one family a module, functions over arrays.

Sequential and strict, so that cutting a batch never changes a bit.

`registers` and `gauges` make rows of readings, `programs` runs rules, `timers` is the queue of deadlines, `alerts`
the life of an instance, `waste` what it costs, `step` the one loop that calls them. Arguments are checked by the
callers in `processors`; nothing here raises.
"""
