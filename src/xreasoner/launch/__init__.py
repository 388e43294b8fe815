"""Starting a run on several GPUs and machines, and ending all of it when one process dies."""
