"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# a busy machine is no reason to fail: examples may take as long as they take
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
