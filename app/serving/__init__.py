"""Serves the standalone application with uvicorn: what uvicorn has no setting for is here, and nothing else.

Applications that embed the plugin are served by a server of their own, whose business this is.
"""
