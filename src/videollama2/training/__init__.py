"""Training: recipes of every stage of the paper, from a checkpoint or plain parts to a checkpoint.

A recipe (`recipe`) says what is trained; `plan` counts it, `engine` runs it on the rows of `data`, `result` writes what
is left. `default` is the default model's own training, from clips of `world/` to the shipped weights.
"""
