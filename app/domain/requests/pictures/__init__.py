"""Pictures that requests bring along, and what is made from them."""
