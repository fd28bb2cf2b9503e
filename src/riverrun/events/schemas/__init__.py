"""What events are made of, under the paths that users import."""
