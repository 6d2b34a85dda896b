"""Settings of property tests: how long one case takes on a busy machine says nothing."""

import functools

from hypothesis import HealthCheck, settings

patient = functools.partial(settings, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""`@patient(max_examples=…)`: as `hypothesis.settings`, without any clock."""
