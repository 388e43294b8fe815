"""A run shown in trackio, TensorBoard, W&B or MLflow."""
