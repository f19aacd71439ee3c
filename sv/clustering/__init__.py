"""Clusters of embeddings that stand for unknown speakers, and how well they agree with true ones."""
