/** Questions to the server; answers are kept until the version changes, so that going back is instant. */

const KEPT = 200;
const ROOT = new URL("..", import.meta.url);
const answers = new Map();

/** What the server says no to; `status` is 0 where it did not answer at all. */
export class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The address of a path such as /similar: a proxy may serve all of this below a prefix. */
export function addressOf(path) {
  return new URL(path.replace(/^\//, ""), ROOT).href;
}

/**
 * An endpoint's answer.
 * @param {string} path such as /similar
 * @param {object} parameters of the query; a list gives the parameter several times, null leaves it out
 * @param {AbortSignal} signal
 * @throws {Refusal} or an AbortError
 */
export async function ask(path, parameters = {}, signal = undefined) {
  const asked = path + queryOf(parameters);
  if (answers.has(asked)) return answers.get(asked);
  const answer = await fetched(asked, signal);
  answers.set(asked, answer);
  if (answers.size > KEPT) answers.delete(answers.keys().next().value);
  return answer;
}

/** The same, asked anew; a `body` is posted. */
export async function fetched(path, signal = undefined, body = undefined) {
  const posted = body && {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json" },
  };
  let response;
  try {
    response = await fetch(addressOf(path), { signal, headers: { Accept: "application/json" }, ...posted });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server does not answer. It may be restarting, or the network is down.", 0);
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null) return answer;
  throw new Refusal(answer?.error ?? `The server answered ${response.status} ${response.statusText}`, response.status);
}

/** Forgets what was kept of an older version. */
export function forget() {
  answers.clear();
}

/** `?a=1&b=2`, or nothing. */
export function queryOf(parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one != null) query.append(name, one);
  }
  const text = query.toString();
  return text ? `?${text}` : "";
}
