"""Which recipes are worth trying, a module for each family of methods."""
