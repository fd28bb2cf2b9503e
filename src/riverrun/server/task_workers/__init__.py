"""Background tasks: handed to the workers that serve them."""
