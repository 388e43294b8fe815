"""The YAML file as strict typed settings."""
