"""Repositories on the Hugging Face Hub: which files, their download, the cache."""
