"""Training. In this release: the default model's own recipe, from clips of `world/` to the shipped weights."""
