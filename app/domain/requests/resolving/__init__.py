"""From what a client sent to what runs: defaults filled in, limits checked, what does not go together refused."""
