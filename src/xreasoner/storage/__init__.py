"""Run folders, manifests, atomic files."""
