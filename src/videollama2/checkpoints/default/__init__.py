"""The default model: its published parts fetched and converted once, joined with this project's own small weights."""
