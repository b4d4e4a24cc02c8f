"""Figures, tables and interactive parts of pages, and the explorers of the notebooks."""
