// The stream of changes. It is read with fetch, since EventSource cannot send a token. When it breaks
// it is opened again, from the last event on: so the page outlives a restart of the coordinator. A tab that
// nobody looks at lets it go: a browser has but six connections to a host over HTTP/1.1, for all tabs together.

import { headers, refusal } from './api.js';

const SILENCE_MS = 25000; // The server says something every ten seconds.
const WAITS_MS = [500, 1000, 2000, 5000];
const STEADY_MS = 10000; // A stream that breaks sooner was none: the next waits longer.

let last = null;
let stopped = null;
const listeners = new Set();

// Calls `heard(name, data)` for each event, and once a stream stands or breaks, with the names
// `open` and `broken`. Returns what ends that.
export function listen(heard) {
  listeners.add(heard);
  return () => listeners.delete(heard);
}

// What a listener cannot make sense of, as of a newer coordinator, is no fault of the stream's.
function tell(name, data) {
  for (const heard of listeners) {
    try {
      heard(name, data);
    } catch (error) {
      reportError(error);
    }
  }
}

// Starts anew, as after another token was given.
export function restart() {
  last = null;
  goOn();
}

function goOn() {
  stopped?.abort();
  stopped = new AbortController();
  if (!document.hidden) run(stopped.signal);
}

document.addEventListener('visibilitychange', () => stopped && goOn());

async function run(signal) {
  for (let tries = 0; !signal.aborted; tries += 1) {
    const begun = Date.now();
    try {
      await stream(signal);
    } catch (error) {
      if (signal.aborted) return;
      tell('broken', error);
      if (error.status === 401 || error.status === 403) return;
    }
    if (Date.now() - begun > STEADY_MS) tries = 0;
    // Pages that lost the same coordinator do not come back all at once.
    const wait = WAITS_MS[Math.min(tries, WAITS_MS.length - 1)] * (0.75 + Math.random() / 2);
    await new Promise((resume) => setTimeout(resume, wait));
  }
}

async function stream(signal) {
  const attempt = new AbortController();
  const abort = () => attempt.abort();
  signal.addEventListener('abort', abort);
  let silence = setTimeout(abort, SILENCE_MS);
  try {
    const asked = headers(last === null ? {} : { 'last-event-id': last });
    const response = await fetch('/api/events', { headers: asked, signal: attempt.signal });
    if (!response.ok) throw await refusal(response);
    tell('open');
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Error('the stream has ended');
      clearTimeout(silence);
      silence = setTimeout(abort, SILENCE_MS);
      const parts = (text + value).split('\n\n');
      text = parts.pop();
      parts.forEach(dispatch);
    }
  } finally {
    clearTimeout(silence);
    signal.removeEventListener('abort', abort);
    attempt.abort();
  }
}

function dispatch(part) {
  const fields = {};
  for (const line of part.split('\n')) {
    const at = line.indexOf(':');
    if (at > 0) fields[line.slice(0, at)] = line.slice(at + 1).trimStart();
  }
  if (fields.data === undefined) return;
  if (fields.id) last = fields.id;
  tell(fields.event, JSON.parse(fields.data));
}
