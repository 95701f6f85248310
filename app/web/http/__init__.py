"""What every route needs of HTTP: bodies, Accept headers, clients, problem documents."""
