"""Torch modules of VideoLLaMA 2: configuration, towers, connectors, splice and the model, no files."""
