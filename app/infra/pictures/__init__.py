"""Pictures that requests bring along: decoded, brought to size, and laid over with what was painted."""
