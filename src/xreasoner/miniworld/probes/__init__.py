"""What a checkpoint can do in the mini-world, and what a gain on images is made of."""
