"""A trained model behind OpenAI's chat protocol: through vLLM, or on the torch engine of our own."""
