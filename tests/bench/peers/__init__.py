"""One job in ganzhi and in rival systems, measured in the same way: see README.md.

Not tests: `python -m tests.bench.peers` runs them by hand, since a rival's installation takes hundreds of megabytes.
Programs of rivals are in `programs/` and run in environments of their own; nothing here imports them.
"""
