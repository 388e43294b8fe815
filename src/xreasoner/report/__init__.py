"""Tables, plots and the page; never runs a model."""
