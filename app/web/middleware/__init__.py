"""ASGI middleware: access log, request counts, origin checks, CORS."""
