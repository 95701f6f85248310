"""Jobs in a database, their pictures and images as files beside it."""
