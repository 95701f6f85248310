"""What image files say about how they were made: receipts, and the data of other programs."""
