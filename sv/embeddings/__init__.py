"""Embeddings: the experiment folder, the trained encoder, and extraction in parts by several jobs."""

MAX_FRAMES = 20_000  # that are embedded at once, unless steps/extract_embeddings.sh is told otherwise: 200 s
