"""What leaves memory when more is needed: the order, its reasons, and what would leave next."""
