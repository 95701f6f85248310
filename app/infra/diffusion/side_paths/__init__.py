"""Changes of a network's layers that act beside them, for some rows of a batch, and leave no trace in the weights."""
