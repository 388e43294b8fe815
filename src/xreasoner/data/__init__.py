"""Sources of problems, filters, decontamination, tokens on disk, packing."""
