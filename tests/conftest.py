"""What every test shares: hypothesis judges answers, never how long this machine took to find them."""

from hypothesis import settings

settings.register_profile("course", deadline=None)
settings.load_profile("course")
