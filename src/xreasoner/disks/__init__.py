"""Machines without a shared disk: the first rank's files are copied to the others, and back."""
