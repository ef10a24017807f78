"""Searches: specs, studies, trials and records."""
