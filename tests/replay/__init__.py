"""Replays of histories that are whole, altered or cut."""
