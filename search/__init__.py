"""Searches: their specs, studies, trials, records and commands."""

import atexit
import gc

# The libraries make a million objects that live as long as the process. With Python's own settings a third of the time
# of their import goes into looking for garbage among them, and another second when the process ends.
gc.set_threshold(50_000)
atexit.register(gc.freeze)
