"""Trackers: what a run writes to its folder, sent on to trackio, TensorBoard, Weights & Biases or MLflow."""
