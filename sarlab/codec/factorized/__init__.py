"""The factorized codec and its linear sibling `klt8`: the model, and its training."""
