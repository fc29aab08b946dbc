// Numbers and times for people.

export const number = (value, digits = 3) => (typeof value !== 'number' || !Number.isFinite(value)
  ? '–'
  : value.toLocaleString('en', { maximumSignificantDigits: Math.max(digits, wholeDigits(value)) }));

const wholeDigits = (value) => String(Math.trunc(Math.abs(value))).length;

export const count = (value) => value.toLocaleString('en');

export const percent = (share, digits = 1) =>
  (Number.isFinite(share) ? `${(100 * share).toFixed(digits)} %` : '–');

export const interval = ({ low, high }) => `${percent(low)} to ${percent(high)}`;

// 75 seconds as "1 min 15 s".
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return '–';
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 48 * 3600) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.round(whole / 86400)} days`;
}

export const ago = (ms) => (ms < 1500 ? 'just now' : `${duration(ms / 1000)} ago`);

export const moment = (unixMs) => new Date(unixMs).toLocaleString();

// A file by its name; other names as they are.
export const fileName = (name) => (name.startsWith('/') ? name.split('/').at(-1) : name);

// A prompt is a text, or turns of a conversation.
export function promptText(prompt) {
  if (typeof prompt === 'string') return prompt;
  if (!Array.isArray(prompt)) return JSON.stringify(prompt);
  if (prompt.length === 1 && prompt[0].role === 'user') return prompt[0].content;
  return prompt.map(({ role, content }) => `${role}: ${content}`).join('\n\n');
}
