"""What holds for every test: a slow machine is no failure, so properties have no deadline."""

from hypothesis import HealthCheck, settings

settings.register_profile("capstream", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("capstream")
