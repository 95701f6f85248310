"""What prompts say beside their words."""
