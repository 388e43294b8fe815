"""A curl and an openai snippet for a server that has just started, ready to paste."""

import json
import shlex

from xreasoner.serve.serve_settings import ServeSettings


def greeting(url: str, settings: ServeSettings, key_from: str | None = None) -> str:
    """`key_from` is the variable that holds the key; the key itself is never shown."""
    curl = curl_snippet(url, settings.name, key_from)
    return f"\n{curl}\n\n{openai_snippet(url, settings.name, settings.think_budget, key_from)}\n"


def curl_snippet(url: str, name: str, key_from: str | None = None) -> str:
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": "What is 17 + 25?"}]})
    key = f' -H "Authorization: Bearer ${key_from}"' if key_from else ""
    return f"curl {url}/v1/chat/completions{key} -H 'Content-Type: application/json' -d {shlex.quote(body)}"


def openai_snippet(url: str, name: str, think_budget: int, key_from: str | None = None) -> str:
    key = f'os.environ["{key_from}"]' if key_from else '"none"'
    return f"""\
import base64, openai, os

client = openai.OpenAI(base_url="{url}/v1", api_key={key})
picture = base64.b64encode(open("picture.png", "rb").read()).decode()
answer = client.chat.completions.create(
    model="{name}",
    messages=[{{"role": "user", "content": [
        {{"type": "image_url", "image_url": {{"url": f"data:image/png;base64,{{picture}}"}}}},
        {{"type": "text", "text": "What does this show?"}},
    ]}}],
    extra_body={{"thinking_token_budget": {think_budget}}},
)
print(answer.choices[0].message.model_dump_json(indent=1))"""
