"""The page for browsers at the plugin's path: one document, and its files, all from this process."""
