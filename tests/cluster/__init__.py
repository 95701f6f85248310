"""Workers behind ingress replicas: without Ray, and with it."""
