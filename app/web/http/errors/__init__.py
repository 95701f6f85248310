"""Every error as a problem document: the table of statuses, the handlers, and what OpenAPI says of them."""
