"""Tables that break no word."""
