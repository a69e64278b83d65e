"""Uses an endpoint as a program that knows nothing but the OpenAI API does; prints one JSON object.

openai_client.py ENDPOINT MODEL USE..., the key in OPENAI_API_KEY. A use is the name of a function in `USES`.
"""
import json
import sys

from openai import APIStatusError, OpenAI

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def chat(client, model):
    stream = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "hello world"}],
        max_tokens=8,
        temperature=0,
        stream=True,
    )
    with stream:
        choices = [chunk.choices[0] for chunk in stream if chunk.choices]
    return {
        "pieces": sum(1 for choice in choices if choice.delta.content),
        "text": "".join(choice.delta.content or "" for choice in choices),
        "finish_reason": choices[-1].finish_reason,
    }


def generate(client, model):
    answer = client.completions.create(model=model, prompt="hello world", max_tokens=8, temperature=0)
    return {"text": answer.choices[0].text, "tokens": answer.usage.completion_tokens}


def embed(client, model):
    answer = client.embeddings.create(model=model, input=["hello", "hello world", "hello"], encoding_format="float")
    return [item.embedding for item in answer.data]


def call(client, model):
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Is it raining in Paris?"}], tools=[WEATHER], max_tokens=64
    )
    choice = answer.choices[0]
    return {
        "finish_reason": choice.finish_reason,
        "content": choice.message.content,
        "calls": [[made.function.name, json.loads(made.function.arguments)] for made in choice.message.tool_calls or []],
    }


def models(client, _model):
    return [model.id for model in client.models.list()]


USES = {use.__name__: use for use in (chat, generate, embed, call, models)}


def main():
    endpoint, model, *uses = sys.argv[1:]
    client = OpenAI(base_url=endpoint + "/v1", max_retries=0, timeout=60)
    try:
        print(json.dumps({use: USES[use](client, model) for use in uses}))
    except APIStatusError as error:
        print(json.dumps({"refused": error.status_code}))


if __name__ == "__main__":
    main()
