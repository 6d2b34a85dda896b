"""The measuring instrument: each figure is checked for correct results before it is printed.

The main figure is CPU-seconds per million readings, by process: it depends little on what else the machine does. A rate
is readings by CPU-second of one core. `registry` lists the benches, `figure` says what one is, `load` makes what they
are fed with.
"""
