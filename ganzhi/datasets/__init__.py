"""Mappings and site models for public data sets, one folder each; the data themselves are not here."""
