"""A notebook-driven reproduction study of four 2026 papers on reinforcement learning for language models."""

__version__ = "0.1.0"
