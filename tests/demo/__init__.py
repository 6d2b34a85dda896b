"""The demo: its model, its world, and the truth that alerts are measured against."""
