// Who looks, what they may do, and the dialog for a token.

import { get, setToken, token } from './api.js';
import { setText } from './dom.js';

const find = (id) => document.getElementById(id);

let session = {
  asks_for_tokens: false, caller: null, may_look: true, may_steer: false, may_requeue: false, may_delete: false,
};

export const may = () => session;

// Asks who we are; the dialog opens by itself where nothing can be seen without a token.
export async function identify() {
  session = await get('/api/session');
  const button = find('identity');
  button.hidden = !session.asks_for_tokens;
  setText(button, session.caller ? `Sign out ${session.caller}` : 'Sign in');
  if (!session.may_look) ask(token() ? 'This token may not look at jobs. Give another one.' : null);
  return session;
}

export function ask(why) {
  if (why) setText(find('sign-in-why'), why);
  const dialog = find('sign-in');
  if (!dialog.open) dialog.showModal();
}

// `changed` is called when there is another token, or none any more.
export function prepare(changed) {
  find('identity').addEventListener('click', () => {
    if (!session.caller) return ask();
    setToken(null);
    changed();
  });
  find('sign-in-cancel').addEventListener('click', () => find('sign-in').close());
  find('sign-in-form').addEventListener('submit', (event) => {
    event.preventDefault();
    setToken(find('token').value.trim());
    find('token').value = '';
    find('sign-in').close();
    changed();
  });
}
