"""What holds for all tests: no property is broken because a machine is slow."""

from hypothesis import HealthCheck, settings

settings.register_profile("tellwire", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tellwire")
