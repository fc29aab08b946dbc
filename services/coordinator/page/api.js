// Asks the coordinator. The token, where one is needed, is kept in this tab.

const KEY = 'rlaif-token';

export const token = () => sessionStorage.getItem(KEY);

export function setToken(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

// A refusal, with the coordinator's words.
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// Nobody answered, or not to the end.
export class Away extends Error {}

export function headers(further = {}) {
  return token() ? { ...further, authorization: `Bearer ${token()}` } : further;
}

export async function refusal(response) {
  const text = await response.text();
  try {
    return new Refused(response.status, JSON.parse(text).error ?? text);
  } catch {
    return new Refused(response.status, text || response.statusText);
  }
}

// What `read` makes of the answer. One that breaks off is none.
async function ask(path, options, read) {
  try {
    const response = await fetch(path, options);
    if (!response.ok) throw await refusal(response);
    return await read(response);
  } catch (error) {
    throw error instanceof Refused ? error : new Away(error.message);
  }
}

const json = (response) => response.json();

export const get = (path) => ask(path, { headers: headers() }, json);

export function post(path, body = {}) {
  const options = { method: 'POST', headers: headers({ 'content-type': 'application/json' }) };
  return ask(path, { ...options, body: JSON.stringify(body) }, json);
}

// Fetches a file and hands it to the browser to keep: a plain link could not carry the token.
export async function download(path, name) {
  const file = await ask(path, { headers: headers() }, (response) => response.blob());
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export const jobPath = (id, rest = '') => `/api/jobs/${encodeURIComponent(id)}${rest}`;
