"""The step: readings and events to rows, against slow evaluations of it."""
