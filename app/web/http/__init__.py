"""HTTP for every route: bodies, Accept headers, clients, media types, problem documents, route groups."""
