"""Scenes: SAR products as arrays with metadata; readers, writers, radiometry, splits, simulation and the catalog."""
