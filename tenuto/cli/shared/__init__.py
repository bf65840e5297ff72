"""What the verbs share: the program that finds them, their common options, how they write and stop."""
