"""Runs a recipe: each stage in order, then evaluation and report; decides what is already done."""
