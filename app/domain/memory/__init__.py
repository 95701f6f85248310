"""The pool of models and its memory manager."""
