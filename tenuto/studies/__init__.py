"""What uses a whole learner: the demo, the joint-training bound, live retention."""
