"""Servers that people write today, with the same model folder, each in a process of its own.

python _serving_peers.py fastapi MODEL PORT     a FastAPI handler around transformers.pipeline
python _serving_peers.py litserve MODEL PORT    LitServe with its batching, where it is installed
"""

from __future__ import annotations

import sys
from typing import Any

from pydantic import BaseModel


class Body(BaseModel):
    inputs: list[str]


def fastapi(model: str, port: int) -> None:
    import uvicorn
    from fastapi import FastAPI
    from transformers import pipeline

    classify = pipeline("text-classification", model, truncation=True, device="cpu")
    app = FastAPI()

    @app.post("/predict")
    def predict(body: Body) -> list[dict[str, Any]]:
        return classify(body.inputs)

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


def litserve(model: str, port: int) -> None:
    import litserve
    from transformers import pipeline

    class Api(litserve.LitAPI):
        def setup(self, device: str) -> None:
            self.classify = pipeline("text-classification", model, truncation=True, device="cpu")

        def decode_request(self, request: dict[str, Any]) -> str:
            return request["inputs"][0]

        def predict(self, texts: list[str]) -> list[dict[str, Any]]:
            return self.classify(texts, batch_size=len(texts))

        def encode_response(self, output: dict[str, Any]) -> list[dict[str, Any]]:
            return [output]

    api = Api(max_batch_size=32, batch_timeout=0.005)
    litserve.LitServer(api, accelerator="cpu").run(port=port, log_level="error", generate_client_file=False)


if __name__ == "__main__":
    {"fastapi": fastapi, "litserve": litserve}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
