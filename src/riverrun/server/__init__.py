"""The server tower: the store, its ingestion and its queries. Only `client.local` and `cli` may open it from outside."""
