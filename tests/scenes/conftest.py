"""Settings of the scenes tests."""

from hypothesis import settings

# Wall-clock deadlines fail on a machine that is busy with something else.
settings.register_profile("sarlab", deadline=None)
settings.load_profile("sarlab")
