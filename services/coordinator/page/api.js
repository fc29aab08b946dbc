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

// Nobody answered.
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

async function ask(path, options) {
  const response = await fetch(path, options).catch((error) => { throw new Away(error.message); });
  if (!response.ok) throw await refusal(response);
  return response;
}

export const get = async (path) => (await ask(path, { headers: headers() })).json();

export async function post(path, body = {}) {
  const options = { method: 'POST', headers: headers({ 'content-type': 'application/json' }) };
  return (await ask(path, { ...options, body: JSON.stringify(body) })).json();
}

// Fetches a file and hands it to the browser to keep: a plain link could not carry the token.
export async function download(path, name) {
  const file = await (await ask(path, { headers: headers() })).blob();
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export const jobPath = (id, rest = '') => `/api/jobs/${encodeURIComponent(id)}${rest}`;
