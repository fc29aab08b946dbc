// Items that failed too often, and another try for them.

import { get, jobPath, post } from './api.js';
import { el, fill, keyed, setText } from './dom.js';
import { count, moment } from './format.js';
import { may } from './session.js';
import { inTurn } from './turns.js';

export function deadLettersView(place, id) {
  const hint = el('p');
  const outcome = el('p', { role: 'status', tabindex: '-1' });
  const all = el('button', { type: 'button', onclick: () => requeue({ all: true }) }, 'Try all again');
  const list = el('ul', { class: 'cards' });
  const further = el('button', { type: 'button', hidden: true, onclick: more }, 'More');
  fill(place, el('h2', {}, 'Dead letters'),
    el('p', { class: 'detail' }, 'Items that failed too often. Mend what made them fail, then have them tried again: '
      + 'the job goes on when none is left.'),
    hint, outcome, el('p', { class: 'buttons' }, all), list, further);
  const known = new Map();
  let letters = [];
  let next = '';

  const page = (token) => get(jobPath(id, `/dead-letters?token=${encodeURIComponent(token)}`));

  const load = inTurn(async () => {
    ({ dead_letters: letters, next } = await page(''));
    draw();
  });

  async function more() {
    const following = await page(next);
    letters = [...letters, ...following.dead_letters];
    next = following.next;
    draw();
  }

  function draw() {
    further.hidden = !next;
    all.hidden = letters.length === 0 || !may().may_requeue;
    // An item that was given up once more is another letter.
    keyed(list, known, letters, (letter) => `${letter.id} ${letter.failed_unix_ms}`, card);
    const barred = may().may_requeue ? '' : 'Trying again takes an administrator’s token.';
    setText(hint, letters.length === 0 ? 'There are none.' : barred);
  }

  async function requeue(which) {
    const pressed = document.activeElement;
    try {
      const { requeued } = await post(jobPath(id, '/dead-letters/requeue'), which);
      setText(outcome, `${count(requeued)} tried again.`);
      await load();
    } catch (refused) {
      setText(outcome, refused.message);
    }
    // The button that was pressed goes with its letter.
    if (!pressed.isConnected || pressed.hidden) outcome.focus();
  }

  function card(letter) {
    const node = el('li', {}, el('article', {},
      el('h3', {}, letter.id),
      el('p', { class: 'error' }, letter.error),
      el('p', { class: 'detail' }, `Stage ${letter.stage}, tried ${count(letter.attempts)} times, `
        + `last ${moment(letter.failed_unix_ms)}`),
      el('details', {}, el('summary', {}, `The item ${letter.id}`),
        el('div', { class: 'text', tabindex: '0', role: 'group', 'aria-label': 'The item' }, letter.item)),
      may().may_requeue && el('p', { class: 'buttons' }, el('button', {
        type: 'button', 'aria-label': `Try again: ${letter.id}`, onclick: () => requeue({ ids: [letter.id] }),
      }, 'Try again'))));
    return { node };
  }

  let dead = -1;
  return {
    refresh: load,
    changed(job) {
      if (job.dead_letters === dead) return;
      dead = job.dead_letters;
      load().catch(() => {}); // The stream's line says when nobody answers.
    },
  };
}
