"""OpenAI's protocol over an engine; terminal chat."""
