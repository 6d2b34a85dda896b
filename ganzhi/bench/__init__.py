"""The measuring instrument: each figure is checked for correct results before a rate is printed."""
