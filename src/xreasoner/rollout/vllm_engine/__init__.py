"""vLLM, in this process or as a server that receives new weights."""
