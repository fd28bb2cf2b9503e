"""HTTP and WebSockets: the route table, bodies, errors, the edge that runs handlers."""
