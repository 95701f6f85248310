"""Entries of what is added to models, or stands beside them: adapters, VAEs, embeddings, upscalers."""
