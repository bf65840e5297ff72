"""A stand-in for wandb, which Avalanche imports beside its metrics: nothing is logged here."""
