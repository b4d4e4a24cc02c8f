"""Selections that chapters still to be rewritten use."""
