"""How the base of the mini-world is made: lessons, its tower, then training on text and pictures."""
