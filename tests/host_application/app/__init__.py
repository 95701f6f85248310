"""The package of a host, with the name that our folder has."""
