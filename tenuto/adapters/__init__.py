"""Which weights of a frozen model learn: low-rank adapters, in PEFT's form."""
