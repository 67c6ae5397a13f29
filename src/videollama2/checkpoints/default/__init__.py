"""The default model's parts: fetched from registry packages, converted once, joined with this project's small weights."""
