/* Sends a commit by the Hugging Face client, off the page's thread: sha256, LFS parts, one commit. Tells the page each step, and the end.
   It takes the session's CSRF token with it; no access token is involved. Ended by the page, it stops at once, and nothing is published.
   Static files carry no Content-Security-Policy: the client's WebAssembly runs here, while the page's own policy forbids it. */
import { commitIter } from "../vendor/huggingface-hub-2.17.5.min.js";

const TRIES = 3, PAUSE = 1000;  // of a request that may be sent twice; the pause grows
const PASSING = new Set([408, 429, 502, 503, 504]);
let job = null;

class Broken extends Error {
  constructor(url) { super(); this.elsewhere = new URL(url).origin !== location.origin; }
}

/* One request to a signed link, by XMLHttpRequest because fetch tells no progress. */
function put(url, { method, body, progressHint, signal }) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    const sent = bytes => postMessage({ event: "sent", path: progressHint.path, part: progressHint.part ?? 0, bytes });
    request.open(method, url);
    request.upload.addEventListener("progress", event => sent(event.loaded));
    request.addEventListener("load", () => {
      const headers = new Headers(request.getAllResponseHeaders().trim().split(/[\r\n]+/).filter(Boolean).map(line => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]));
      done(new Response(request.status === 204 ? null : request.response, { status: request.status, headers }));
    });
    request.addEventListener("error", () => { sent(0); fail(new Broken(url)); });
    request.addEventListener("abort", () => fail(signal.reason));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(body);
  });
}

/* A part that came in an earlier try; the hub marks its link. */
function there({ body, progressHint }) {
  postMessage({ event: "there", path: progressHint.path, part: progressHint.part, bytes: body.size });
  return new Response(null, { headers: { ETag: '"there"' } });
}

async function ask(url, init) {
  const address = new URL(url);
  const toLink = address.pathname.startsWith("/lfs/");
  if (init.method === "PUT") return address.hash === "#there" ? there(init) : put(url, init);
  if (job.here && address.pathname.endsWith("/objects/batch")) address.searchParams.set("direct", "no");
  if (!toLink) for (const [name, value] of job.asks) address.searchParams.append(name, value);
  const headers = { ...init.headers, Accept: "application/json", ...(toLink ? {} : { "X-CSRFToken": job.token }) };
  try {
    return await fetch(address, { ...init, headers, credentials: toLink ? "omit" : "same-origin" });
  } catch (error) {
    init.signal.throwIfAborted();
    throw error instanceof TypeError ? new Broken(url) : error;
  }
}

async function patiently(url, init) {
  const once = new URL(url).pathname.startsWith("/api/") && url.includes("/commit/");
  for (let tries = 1; ; tries += 1) {
    const last = once || tries === TRIES;
    try {
      const answer = await ask(url, init);
      if (last || !PASSING.has(answer.status)) return answer;
    } catch (error) {
      if (last || !(error instanceof Broken)) throw error;
    }
    await new Promise(done => setTimeout(done, PAUSE * 3 ** (tries - 1)));
    init.signal.throwIfAborted();
  }
}

async function send() {
  const steps = commitIter({ ...job.commit, hubUrl: location.origin, useXet: false, fetch: patiently });
  let step;
  while (!(step = await steps.next()).done) postMessage(step.value);
  postMessage({ event: "done" });
}

/* Where the store of the hub is a bucket, files go there; where this browser cannot reach it, they go through the hub. */
async function sendSomehow() {
  try { await send(); } catch (error) {
    if (!error.elsewhere) throw error;
    job.here = true;
    await send();
  }
}

function told(error) {
  const { code, fields, error: message } = error.data ?? {};
  return { event: "failed", status: error.statusCode ?? 0, code, fields, message, broken: error instanceof Broken, said: error.message };
}

addEventListener("message", async event => {
  job = event.data;
  try { await sendSomehow(); } catch (error) { postMessage(told(error)); }
});
