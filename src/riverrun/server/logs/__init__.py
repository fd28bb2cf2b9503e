"""Log lines: taken in, found again, streamed."""
