"""`/sdapi/v1`: the API of AUTOMATIC1111's web UI, for the clients that were written for it."""
