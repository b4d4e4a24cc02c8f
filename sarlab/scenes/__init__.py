"""What comes in: scenes, their readers, radiometry, tiles, simulation and the catalog."""
