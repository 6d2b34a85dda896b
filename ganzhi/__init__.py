"""The front door: command line (`cli/`), embedded stack (`embedded/`), demo, data sets and bench. Imports everything, computes nothing."""
