"""The page in a real browser. `uv run --group page pytest tests/page -m ""`; skipped without Chromium."""
