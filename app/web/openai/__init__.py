"""The Images API of OpenAI, `/v1/images` and `/v1/models`, on the models of this server."""
