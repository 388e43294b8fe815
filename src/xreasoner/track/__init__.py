"""Shows a run in the terminal or in a tracker."""
