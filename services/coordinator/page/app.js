// The page: an address after the # names a view; views show data and are told what changes.

import { Away, Refused } from './api.js';
import { el, fill, setText } from './dom.js';
import { deadLettersView } from './dead_letters.js';
import { jobView } from './job.js';
import { jobsView } from './jobs.js';
import { labelsView } from './labels.js';
import { listen, restart } from './live.js';
import { samplesView } from './samples.js';
import { identify, prepare } from './session.js';
import { trainingView } from './training.js';
import { workersView } from './workers.js';

const main = document.getElementById('main');
const connection = document.getElementById('connection');

// Of a job.
const PARTS = {
  '': null, labels: labelsView, training: trainingView, samples: samplesView, 'dead-letters': deadLettersView,
};

// What is shown: `changed(job, event)` for each change of a job, `deleted(id)` when one is no more, `refresh()`
// when anything may have changed, `stop()` when another view takes its place.
let view = null;
// What is shown could not be asked for.
let stale = false;

// The parts of the address; none where it is not well-formed.
function address() {
  try {
    return location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  } catch {
    return [];
  }
}

function wanted() {
  const [page = 'jobs', id, part = ''] = address();
  if (page === 'workers') return { page, make: workersView };
  if (page === 'jobs' && id && Object.hasOwn(PARTS, part)) {
    return { page, make: (place) => jobView(place, id, part, PARTS[part]) };
  }
  return { page: 'jobs', make: jobsView };
}

async function show() {
  view?.stop?.();
  view = null;
  const { page, make } = wanted();
  for (const link of document.querySelectorAll('nav [data-page]')) {
    if (link.dataset.page === page) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  fill(main);
  const mine = make(main);
  view = mine;
  document.title = `${main.querySelector('h1')?.textContent ?? 'rlaif'} - rlaif`;
  await refresh();
}

async function refresh() {
  const mine = view;
  try {
    await mine?.refresh();
    failure(null);
  } catch (error) {
    stale = true;
    if (mine === view) failure(error);
  }
}

// What went wrong is said above the view, which keeps what it has.
function failure(error) {
  main.querySelector('.alert.failure')?.remove();
  // While the coordinator is away the connection's line says so.
  if (!error || error instanceof Away) return;
  if (!(error instanceof Refused)) throw error;
  main.prepend(el('p', { class: 'alert failure', role: 'alert' }, error.message));
}

function state(name, text) {
  connection.dataset.state = name;
  setText(connection, text);
}

listen((name, data) => {
  if (name === 'open') state('live', 'Live');
  else if (name === 'broken' && data.status === 401) {
    state('away', 'Signed out');
    identify().catch(() => {}); // Asks for a token.
  } else if (name === 'broken' && data.status === 403) state('away', 'Not allowed');
  else if (name === 'broken') state('away', 'Coordinator away, trying again');
  else if (name === 'hello' && (data.changed || stale)) {
    stale = false;
    refresh();
  } else if (name === 'job') view?.changed?.(data.job, data);
  else if (name === 'deleted') view?.deleted?.(data.job);
});

async function begin() {
  try {
    await identify();
  } catch (error) {
    state('away', 'Coordinator away, trying again');
    setTimeout(begin, 2000);
    return;
  }
  restart();
  await show();
}

prepare(begin);
// What a button asked for, and did not get.
addEventListener('unhandledrejection', (event) => {
  const { reason } = event;
  if (!(reason instanceof Refused || reason instanceof Away)) return;
  event.preventDefault();
  failure(reason);
});
addEventListener('hashchange', async () => {
  await show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
document.getElementById('skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
begin();
