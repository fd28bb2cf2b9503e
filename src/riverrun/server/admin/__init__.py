"""The server itself: versions, health, settings."""
