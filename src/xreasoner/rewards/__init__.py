"""Finds the answer in a text and grades it; every score keeps its reason."""
