"""Embeddings: the experiment folder, the trained encoder, and extraction in parts by several jobs."""
