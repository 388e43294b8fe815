"""One file for each format of a corpus: from a row to a candidate problem."""
