"""The families of the mini-world: three general ones and a clinical one, each with a layout of its own."""
