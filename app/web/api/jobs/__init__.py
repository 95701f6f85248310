"""`/jobs`: routes and wire types."""
