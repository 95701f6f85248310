"""Files of adapters for SDXL models, from their headers alone: LoRA, LoCon, LoHa, LoKr, full differences, DoRA."""
