// The page of a server. Texts are only ever written as text (textContent), so nothing in them is read as HTML.
"use strict";

const $ = (id) => document.getElementById(id);
const MOST_EARLIER = 10, MOST_SCORES = 8;
let runs = [], run = null, key = "", turns = [];

const el = (name, text = "", className = "") => {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
};
const percent = (share) => `${(100 * share).toFixed(1)} %`;

const ask = async (path, body) => {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  if (body) headers["content-type"] = "application/json";
  const said = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  if (said.ok) return said;
  const error = (await said.json().catch(() => ({}))).error;
  const problem = new Error((error && error.message) || error || `The server answered ${said.status}.`);
  problem.status = said.status;
  throw problem;
};

// ---- what the chosen run takes ----

const named = { text_pair: "second text", document: "text", source: "text", messages: "message", prompt: "message" };
const isChat = () => run.chats;

const inputsOf = () => {
  if (isChat()) return [run.inputs[0]];
  const needed = run.inputs.filter((name) => !["words", "tools"].includes(name));
  return run.takes_pairs || !needed.includes("text_pair") || !run.text_column ? needed
    : needed.filter((name) => name !== "text_pair");
};

const showRun = () => {
  $("title").textContent = run.name;
  const labels = run.labels.length ? `, ${run.labels.length} labels` : "";
  $("about").textContent = `${run.task}${labels}, ${run.engine}, reads up to ${run.max_length.toLocaleString("en")} tokens`;
  $("fields").replaceChildren(...(isChat() ? [el("div", "", "turns")] : []), ...inputsOf().map(field));
  $("send").textContent = isChat() ? "Send" : "Ask";
  turns = [];
  showTurns();
  for (const part of ["result", "earlier"]) $(part).hidden = true;
  $("earlier-list").replaceChildren();
  $("state").textContent = "";
  showExamples();
};

const field = (name) => {
  const made = el("div", "", "field"), label = el("label", named[name] || name), input = el("textarea");
  input.id = label.htmlFor = `input-${name}`;
  input.required = true;
  if (run.masks) input.placeholder = "a text with [MASK] in place of a word";
  if (name === "question") input.className = "short";
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey || (isChat() && !event.shiftKey))) {
      event.preventDefault();
      $("form").requestSubmit();
    }
  });
  made.append(label, input);
  return made;
};

const textOf = (row) => {
  const [first] = inputsOf(), value = row[first];
  if (!isChat()) return value;
  const asked = (value || []).filter((turn) => turn.role === "user");
  return asked.length ? asked[asked.length - 1].content : "";
};

const showExamples = () => {
  const usable = run.examples.filter((row) => typeof textOf(row) === "string" && textOf(row) && !run.masks);
  $("examples").hidden = !usable.length;
  $("example-list").replaceChildren(...usable.map((row) => {
    const made = el("button", inputsOf().map((name) => isChat() ? textOf(row) : row[name]).join(" — "));
    made.type = "button";
    made.addEventListener("click", () => {
      for (const name of inputsOf()) $(`input-${name}`).value = isChat() ? textOf(row) : row[name] || "";
      if (!isChat()) $("form").requestSubmit();
    });
    return made;
  }));
};

// ---- answers, by what they hold ----

const mark = (text, note, className = "") => {
  const made = el("mark", text, className);
  if (note) made.append(el("small", note));
  return made;
};

// The text with some spans marked. Positions count code points, as the server does.
const marked = (text, spans) => {
  const points = Array.from(text), made = el("p", "", "text");
  let at = 0;
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    if (span.start < at) continue;
    made.append(points.slice(at, span.start).join(""),
      mark(points.slice(span.start, span.end).join(""), span.note, span.className));
    at = span.end;
  }
  made.append(points.slice(at).join(""));
  return made;
};

const scores = (entries) => {
  const made = el("div", "", "scores");
  entries.slice(0, MOST_SCORES).forEach((entry, i) => {
    const meter = el("meter", "", i ? "" : "first");
    meter.min = 0; meter.max = 1; meter.value = entry.score;
    meter.setAttribute("aria-label", `${entry.label}: ${percent(entry.score)}`);
    const line = el("div");
    line.append(el("span", entry.label, i ? "" : "best-label"), meter, el("span", percent(entry.score), "number"));
    made.append(line);
  });
  const more = entries.length - MOST_SCORES;
  return more > 0 ? [made, el("p", `and ${more} more labels`, "soft small")] : [made];
};

const doubts = (answer) => {
  const said = [];
  if (answer.abstained === true) {
    said.push(`The model abstains: it is less sure than it promised to be (at most ${percent(run.max_error)} wrong).`);
  }
  if (answer.out_of_scope && answer.out_of_scope.is_out) {
    said.push("The text is unlike the training texts. Do not rely on the answer.");
  }
  if (answer.truncated) said.push(`Only ${answer.tokens_read} of ${answer.tokens} tokens were read.`);
  return said.map((text) => el("p", text, "doubt"));
};

const entities = (answer, row) => {
  const withheld = Array.isArray(answer.abstained) ? answer.abstained : [];
  const spanOf = (className) => (one) => ({
    ...one, className, note: `${one.entity_group} ${percent(one.score)}${className ? ", unsure" : ""}`,
  });
  const spans = [...answer.entities.map(spanOf("")), ...withheld.map(spanOf("withheld"))];
  return spans.length ? [marked(row.text, spans)]
    : [el("p", "No entity was found.", "best"), el("p", row.text, "text")];
};

const passage = (answer, row) => answer.answer
  ? [el("p", answer.answer, "best"), marked(row.context, [{ ...answer, note: percent(answer.score) }])]
  : [el("p", "The text does not answer the question.", "best"), el("p", `${percent(answer.score)} sure`, "soft")];

const show = (answer, row) => {
  if (answer.entities) return entities(answer, row);
  if ("answer" in answer) return passage(answer, row);
  if ("labels" in answer) {
    const given = answer.labels.map((one) => one.label).join(", ");
    return [el("p", given || "No label.", "best"), ...scores(answer.top || answer.labels)];
  }
  if ("label" in answer && answer.top) return [el("p", answer.label, "best"), ...scores(answer.top)];
  if ("token_str" in answer) {
    return [el("p", answer.sequence, "best"), ...scores((answer.top || [answer]).map((one) => ({ ...one, label: one.token_str })))];
  }
  if (run.generates) return [el("p", Object.values(answer).find((value) => typeof value === "string"), "text")];
  return [el("p", Number(answer.score).toFixed(3), "best"), el("p", answer.similar === undefined ? run.task
    : answer.similar ? "similar" : "different", "soft")];
};

const remember = (row, answer) => {
  const said = answer.entities ? answer.entities.map((one) => `${one.word} (${one.entity_group})`).join(", ") || "no entity"
    : "answer" in answer ? answer.answer || "no answer"
    : "labels" in answer ? answer.labels.map((one) => one.label).join(", ") || "no label"
    : answer.token_str || (run.generates ? Object.values(answer).find((value) => typeof value === "string") : "")
    || (run.labels.length ? answer.label : Number(answer.score).toFixed(3));
  const score = typeof answer.score === "number" && (run.labels.length || "answer" in answer) ? `, ${percent(answer.score)}` : "";
  const item = el("li"), asked = Object.values(row).join(" — ");
  item.append(el("span", asked.length > 160 ? `${asked.slice(0, 160)} …` : asked, "asked"), `${said}${score}`);
  $("earlier-list").prepend(item);
  while ($("earlier-list").children.length > MOST_EARLIER) $("earlier-list").lastChild.remove();
  $("earlier").hidden = false;
};

const answerRow = async (row) => {
  const top = run.alternatives ? null : 1;
  const said = await ask("/answer", { run: run.name, inputs: row, top_k: top });
  const [answer] = (await said.json()).answers;
  $("answer").replaceChildren(...show(answer, row), ...doubts(answer));
  $("result").hidden = false;
  remember(row, answer);
};

// ---- chat ----

const showTurns = () => {
  const box = document.querySelector(".turns");
  if (box) box.replaceChildren(...turns.map((turn) => el("div", turn.content, `turn ${turn.role}`)));
};

const chat = async (text) => {
  const before = turns;
  turns = [...turns, { role: "user", content: text }];
  const reply = { role: "assistant", content: "" };
  const asked = { model: run.name, messages: turns, stream: true };
  turns = [...turns, reply];
  showTurns();
  try {
    const said = await ask("/v1/chat/completions", asked);
    for await (const event of eventsOf(said)) {
      if (event.error) throw new Error(event.error.message);
      const [choice] = event.choices;
      if (choice && choice.delta.content) {
        reply.content += choice.delta.content;
        document.querySelector(".turns").lastChild.textContent = reply.content;
      }
    }
    $("input-" + run.inputs[0]).value = "";
  } catch (error) {
    turns = before;
    showTurns();
    throw error;
  }
};

async function* eventsOf(said) {
  const reader = said.body.pipeThrough(new TextDecoderStream()).getReader();
  let left = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (left + value).split("\n\n");
    left = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

// ---- the form ----

const submit = async (event) => {
  event.preventDefault();
  const row = Object.fromEntries(inputsOf().map((name) => [name, $(`input-${name}`).value]));
  $("send").disabled = true;
  $("state").className = "soft small";
  $("state").textContent = "…";
  const began = performance.now();
  try {
    await (isChat() ? chat(row[run.inputs[0]]) : answerRow(row));
    $("state").textContent = `${Math.round(performance.now() - began)} ms`;
  } catch (error) {
    $("state").className = "error small";
    $("state").textContent = error.message;
    if (error.status === 401) showDoor();
  } finally {
    $("send").disabled = false;
  }
};

const showDoor = () => {
  $("door").hidden = false;
  $("ask").hidden = true;
  $("about").textContent = "";
  $("key").focus();
};

const load = async () => {
  try {
    runs = (await (await ask("/runs")).json()).runs;
  } catch (error) {
    if (error.status === 401) return showDoor();
    $("about").textContent = error.message;
    return undefined;
  }
  $("door").hidden = true;
  $("ask").hidden = false;
  $("choice").hidden = runs.length < 2;
  $("run").replaceChildren(...runs.map((one) => {
    const made = el("option", `${one.name} (${one.task})`);
    made.value = one.name;
    return made;
  }));
  const wanted = decodeURIComponent(location.hash.slice(1));
  run = runs.find((one) => one.name === wanted) || runs[0];
  $("run").value = run.name;
  showRun();
  return undefined;
};

$("form").addEventListener("submit", submit);
$("run").addEventListener("change", () => {
  run = runs.find((one) => one.name === $("run").value);
  history.replaceState(null, "", `#${encodeURIComponent(run.name)}`);
  showRun();
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  load();
});
load();
