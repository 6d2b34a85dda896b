"""The real task, transaction, snapshot and sink code in a world where everything outside of it is simulated.

What the code under test sees of the world is narrow: librdkafka's `Producer` and `Consumer`, ClickHouse's `Client`, a
clock, and events to wait for. `world.simulated` puts the simulated ones in their place; nothing else is replaced, and
nothing of the code under test is. One seed makes one life: who runs next, which call fails and how, who dies where.

    python -m tests.fault.sim tasks --seed 4711      replays one life, with its history
    python -m tests.fault.sim sinks --seeds 0:10000  lives many
"""
