"""The small synthetic world that the quickstart trains and evaluates in."""
