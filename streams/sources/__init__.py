"""Where events come from: CSV files, JSON lines, and whatever makes batches for the input topics.

No source computes a result. `batching` is where each of them ends; `decimals` and `mapping` serve the readers of files.
"""
