"""Reads what searches have recorded and turns it into tables. Never writes a run."""
