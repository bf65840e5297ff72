"""What the doctor looks for: one file per organ, each with `findings(patient)`."""
