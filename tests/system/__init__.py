"""The whole pipeline, as people run it: killed, shared, fed with rubbish, and proved by a replay."""
