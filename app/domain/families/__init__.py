"""Families of models: how a model is recognised, and what is particular to it."""
