"""Chapters 12 to 16: looking inside a trained model."""
