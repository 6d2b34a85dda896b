"""Programs of rival systems, each run in an environment of its own."""
