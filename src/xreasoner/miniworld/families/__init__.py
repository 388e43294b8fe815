"""The problem families of the mini-world, one file each: three general, one clinical."""
