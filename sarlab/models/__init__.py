"""Fixed-latent networks: architectures, training, quantizers, cost."""
