"""Torch modules of VideoLLaMA 2: configuration, towers, connectors, splice and the model; no files.

Importing this room makes the configs and models known to the Auto classes of transformers.
"""

from .auto import register

register()
