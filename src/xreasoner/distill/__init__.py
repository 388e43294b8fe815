"""Ask a teacher for thoughts and keep those that lead to the known answer."""
