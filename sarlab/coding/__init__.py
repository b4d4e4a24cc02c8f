"""What becomes bytes."""
