"""The codec `hyper`: networks, integer arithmetic, training."""
