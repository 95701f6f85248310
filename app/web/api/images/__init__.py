"""The routes that make images, `/generate` and `/upscale`: their wire types and OpenAPI."""
