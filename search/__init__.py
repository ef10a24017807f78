"""Searches: their specs, studies, trials and records."""
