"""One file for each form that a corpus comes in: from a row to a candidate."""
