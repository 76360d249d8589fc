"""State stores: where the encoded state records of owned partitions are kept."""
