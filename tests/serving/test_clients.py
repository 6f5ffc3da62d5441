"""Clients that people use, against a real server."""

from __future__ import annotations

import openai
import pytest
from huggingface_hub import InferenceClient

CAT = "the old cat is near a red dog"


@pytest.fixture(autouse=True)
def _direct(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


class TestHub:
    @pytest.fixture
    def hub(self, server, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        return lambda name: InferenceClient(model=f"{server.url}/models/{name}" if name else server.url)

    def test_text_classification(self, hub, predictors):
        expected = predictors("text-classification")(CAT, top_k=None)["top"]
        found = hub("").text_classification(CAT)
        assert [(one.label, pytest.approx(one.score, abs=2e-5)) for one in found] == [
            (one["label"], one["score"]) for one in expected
        ]
        assert len(hub("text-classification").text_classification(CAT, top_k=1)) == 1

    def test_token_classification(self, hub, predictors):
        expected = predictors("token-classification")(CAT)["entities"]
        found = hub("token-classification").token_classification(CAT, aggregation_strategy="simple")
        spans = [(one.entity_group, one.start, one.end, one.word) for one in found]
        assert spans == [(one["entity_group"], one["start"], one["end"], one["word"]) for one in expected]

    def test_question_answering(self, hub, predictors):
        asked = {"question": "where is the cat", "context": CAT}
        expected = predictors("question-answering")(asked)
        found = hub("question-answering").question_answering(**asked)
        assert (found.answer, found.start, found.end) == (
            expected["answer"],
            expected["start"],
            expected["end"],
        )
        assert len(hub("question-answering").question_answering(**asked, top_k=2)) == 2

    def test_texts_that_are_written(self, hub, predictors):
        expected = predictors("summarization")(CAT)["summary_text"]
        assert hub("summarization").summarization(CAT).summary_text == expected
        messages = [{"role": "user", "content": CAT}]
        reply = hub("chat").chat_completion(messages).choices[0].message.content
        assert reply == predictors("chat")({"messages": messages})["message"]["content"]

    def test_masks_and_vectors(self, hub, predictors):
        filled = hub("fill-mask").fill_mask("the [MASK] is near")
        expected = predictors("fill-mask")("the [MASK] is near", top_k=None)["top"]
        assert [one.token_str for one in filled] == [one["token_str"] for one in expected]
        vector = hub("text-similarity").feature_extraction(CAT, normalize=True)
        assert vector[0] == pytest.approx(predictors("text-similarity").embed(CAT, normalize=True), abs=1e-5)
        cosines = hub("text-similarity").sentence_similarity(CAT, other_sentences=[CAT, "blue"])
        pair = {"text": CAT, "text_pair": "blue"}
        assert cosines == pytest.approx([1.0, predictors("text-similarity")(pair)["score"]], abs=1e-5)


class TestOpenAI:
    @pytest.fixture
    def client(self, server):
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            yield client

    MESSAGES = ({"role": "user", "content": CAT},)

    def test_models(self, client):
        assert "chat" in [model.id for model in client.models.list()]
        assert client.models.retrieve("chat").owned_by == "tunesmith"

    def test_a_reply_is_that_of_predict(self, client, predictors):
        said = client.chat.completions.create(model="chat", messages=self.MESSAGES)
        expected = predictors("chat")({"messages": list(self.MESSAGES)})["message"]["content"]
        assert said.choices[0].message.content == expected
        prompt = predictors("chat").prepare([predictors("chat").read({"messages": list(self.MESSAGES)})])
        assert said.usage.prompt_tokens == len(prompt.encoded.ragged["input_ids"][0])
        assert said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens

    def test_a_stream_is_the_same_text(self, client):
        whole = client.chat.completions.create(model="chat", messages=self.MESSAGES)
        events = list(
            client.chat.completions.create(
                model="chat", messages=self.MESSAGES, stream=True, stream_options={"include_usage": True}
            )
        )
        parts = [event.choices[0].delta.content or "" for event in events if event.choices]
        assert len([part for part in parts if part]) > 1
        assert "".join(parts) == whole.choices[0].message.content
        assert events[-1].usage == whole.usage
        assert events[-2].choices[0].finish_reason == whole.choices[0].finish_reason

    def test_draws_repeat_with_their_seed(self, client):
        def drawn(seed):
            said = client.chat.completions.create(
                model="chat", messages=self.MESSAGES, temperature=2, seed=seed, max_tokens=20
            )
            return said.choices[0].message.content

        assert drawn(1) == drawn(1)
        assert len({drawn(seed) for seed in range(6)}) > 2

    def test_length_and_stop(self, client):
        whole = (
            client.chat.completions.create(model="chat", messages=self.MESSAGES).choices[0].message.content
        )
        short = client.chat.completions.create(model="chat", messages=self.MESSAGES, max_tokens=2)
        assert short.choices[0].finish_reason == "length"
        assert short.usage.completion_tokens == 2
        assert whole.startswith(short.choices[0].message.content)
        stop = whole[len(whole) // 2 :][:3]
        ended = client.chat.completions.create(model="chat", messages=self.MESSAGES, stop=[stop])
        assert ended.choices[0].message.content == whole[: whole.find(stop)].strip()
        assert ended.choices[0].finish_reason == "stop"

    def test_completions(self, client, predictors):
        said = client.completions.create(model="summarization", prompt=[CAT, "a red dog"])
        expected = [one["summary_text"] for one in predictors("summarization")([CAT, "a red dog"])]
        assert [choice.text for choice in said.choices] == expected
        tokenizer = predictors("summarization").tokenizer
        ids = tokenizer(expected, add_special_tokens=False)["input_ids"]
        assert said.usage.completion_tokens == sum(map(len, ids)) > 0

    def test_a_long_conversation_says_that_it_was_cut(self, client):
        said = client.chat.completions.create(model="chat", messages=[{"role": "user", "content": CAT * 60}])
        assert said.model_extra["tunesmith"]["truncated"] is True

    def test_errors_are_openais(self, client):
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="nope", messages=self.MESSAGES)
        with pytest.raises(openai.UnprocessableEntityError, match="n: "):
            client.chat.completions.create(model="chat", messages=self.MESSAGES, n=3)
        with pytest.raises(openai.BadRequestError, match="text-classification"):
            client.chat.completions.create(model="text-classification", messages=self.MESSAGES)
