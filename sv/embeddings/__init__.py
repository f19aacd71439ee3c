"""Embeddings: the experiment folder, the trained encoder, and extraction in parts by several jobs."""

MAX_FRAMES = 20_000  # embedded at once (200 s), unless steps/extract_embeddings.sh sets another number
