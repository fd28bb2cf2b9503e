"""Events: taken in, found again, and streamed."""
