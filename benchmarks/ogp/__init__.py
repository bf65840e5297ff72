"""OGP-LoRA-Stream, measured."""
