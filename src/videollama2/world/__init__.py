"""Clips made from a seed whose questions have known answers: data for training, evaluation and tests.

A scene graph is drawn (`scene`), rendered to frames and sound (`render`), and questions are read off it (`questions`).
Sprites and sounds are fetched once from freely licensed packages (`fetch_assets`) and never belong to the repository.
"""
