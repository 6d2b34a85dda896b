"""The measuring instrument: each figure is checked for correct results before a rate is printed.

The main figure is CPU-seconds per million readings: it does not depend on what else the machine does. A rate is
readings by CPU-second of one core.
"""
