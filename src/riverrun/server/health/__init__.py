"""How the server fares: alive, ready, measured; and the document of its interface."""
