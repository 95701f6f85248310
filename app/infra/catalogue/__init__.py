"""The models that exist: local files and folders, Hub entries, sidecars."""
