"""A second family, which draws gradients: it proves that a family is one package and one line of the registry."""
