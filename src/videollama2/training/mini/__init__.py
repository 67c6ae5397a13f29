"""The miniature: all five stages of the paper on models and clips of a few kilobytes, in minutes on any CPU.

`python -m videollama2.training.mini DIR` makes parts and clips, trains stage after stage with the engine and the
recipes that train the real ones, and tells loss and accuracy on held-out clips before and after each.
"""
