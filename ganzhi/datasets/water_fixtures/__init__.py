"""Flow of single water fixtures in a flat: a bidet, a washing machine and a toilet, mL/s (WEUSEDTO).

The bidet's and the washing machine's files have a row whenever the flow changes and about every five minutes; the
toilet's has a row a flush, with its end, which becomes a flow and then none. Times are epoch seconds.
"""
