"""The same history again: readers of the log and what is asked of it.

Imports `schemas`, `processors` and `sinks`, never `streams`.

A replay proves that the published rows follow from the log, the documents and the engine named in it. It does not
prove that the meters were right.
"""
