"""Tables for the terminal that break lines only between words."""
