"""How jobs are kept: the port, records, the journal of progress, what is dropped when, how they are found."""
