"""Bodies of requests: as they arrive, and as JSON or forms turned into the fields of a Struct."""
