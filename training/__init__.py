"""Training: labelled projects to runs; export turns a run into a bundle."""
