"""Experiments: run plans, measure networks and codecs, publish tables."""
