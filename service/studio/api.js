// Calls of the service. Every failure is a Problem with a message fit to be shown.

const root = new URL("..", import.meta.url);

export class Problem extends Error {}

export const key = {
  get: () => sessionStorage.getItem("ni-key") ?? "",
  set: (value) => sessionStorage.setItem("ni-key", value),
};

/** Call the service; path begins without a slash. */
export async function call(path, { headers = {}, ...options } = {}) {
  const credentials = key.get() ? { Authorization: `Bearer ${key.get()}` } : {};
  let answer;
  try {
    answer = await fetch(new URL(path, root), { ...options, headers: { ...credentials, ...headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The service can't be reached.");
  }
  if (!answer.ok) throw new Problem(await describe(answer));
  return answer;
}

export async function json(path, options) {
  return (await call(path, { ...options, headers: { Accept: "application/json", ...options?.headers } })).json();
}

export function post(body, headers = {}) {
  return { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json", ...headers } };
}

async function describe(answer) {
  const type = answer.headers.get("Content-Type") ?? "";
  if (!type.includes("json")) return `The service answered ${answer.status}.`;
  const problem = await answer.json();
  return problem.detail ?? problem.title ?? `The service answered ${answer.status}.`;
}

/** Yield {id, event, data} of a job until its stream ends; resume after `last`. */
export async function* events(job, { signal, last }) {
  const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
  const answer = await call(`jobs/${job}/events`, { headers, signal });
  if (answer.status === 204) return; // nothing is left to tell
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text = (text + value).replaceAll("\r\n", "\n");
    const blocks = text.split("\n\n");
    text = blocks.pop();
    yield* blocks.map(parse).filter((event) => event.data);
  }
}

function parse(block) {
  const event = { event: "message", data: "" };
  for (const line of block.split("\n")) {
    const [, field, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
    if (field === "data") event.data += value;
    else if (field) event[field] = value;
  }
  return event;
}
