"""Settings for every test."""

from hypothesis import settings

# No time limit per example: a shared machine is slow at times. Under CI hypothesis derandomises itself.
settings.register_profile("lightning_robust", parent=settings.default, deadline=None)
settings.load_profile("lightning_robust")
