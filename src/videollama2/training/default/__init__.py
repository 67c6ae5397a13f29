"""How the default model's connector, audio projector and LoRA are trained, end to end, by commands anyone can repeat.

python -m videollama2.training.default features   clips -> features of the frozen towers, on disk, resumable
python -m videollama2.training.default warmup     connector and projector against the LLM's word embeddings
python -m videollama2.training.default language   connector, projector and LoRA through the frozen LLM
python -m videollama2.training.default evaluate   four-way accuracy by family, with a blind baseline
python -m videollama2.training.default export     the small weights that ship with the package
"""
