"""The default codec: a lapped transform, the spectrum of the scene, and a trellis. No network takes part.

    encode   dB samples ─fold, DCT-IV─▶ y ─trellis─▶ k ─adaptive range coder─▶ bytes
                                        │                  ▲
                                        └─ spectrum ─▶ class of each frequency
                                             │             │
                                             ▼             ▼
    decode   samples ◀─unfold, DCT-IV─ y_hat ◀─ k ◀─adaptive range decoder─ bytes

Modules: `transform` (blocks that overlap without seams), `spectrum` (its model in the header of a file, and the classes that
follow from it), `trellis` (dependent quantization), `entropy` (integers to bytes and back), `coder` (the model that a file
names), `fit` (the start of all probabilities, learned from training scenes).
"""
