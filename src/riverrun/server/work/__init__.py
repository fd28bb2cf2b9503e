"""Work pools with their queues and workers: who may take which run."""
