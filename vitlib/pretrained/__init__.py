"""Chapter 11: weights that others trained."""
