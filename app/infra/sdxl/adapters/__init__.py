"""LoRA and its relatives: read from files, applied to networks without changing their weights."""
