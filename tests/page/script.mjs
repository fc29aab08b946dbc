// A coordinator by script: the page's own files, and for each path of its data what a check says.

import { createServer } from 'node:http';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { extname, join } from 'node:path';

const KINDS = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
// Who may do everything.
export const SESSION = {
  asks_for_tokens: false, caller: null, may_look: true, may_steer: true, may_requeue: true, may_delete: true,
};

// What answers with another status than 200.
export const refused = (status, error) => ({ refused: { status, error } });

// A job as the coordinator shows it, but for what a check says of it.
export const job = (id, further = {}) => ({
  id, name: `job ${id}`, state: 'running', error: '', created_unix_ms: 1000, updated_unix_ms: 1000,
  stages: [{ stage: 'policy', done: 1, total: 9, eta_seconds: null, note: '', unscorable: 0, dead_letters: 0 }],
  unscorable: 0, dead_letters: 0, prompt_tokens: 0, completion_tokens: 0, amount: null, max_cost: null,
  max_tokens: null, policy: 'p', labeler: 'l', template: 't', judge: null, reward: 'model', ...further,
});

// A part of a file of records, of which each lies one place after the other.
export const stretch = (records, begin = 0) => ({
  records, places: records.map((_, i) => begin + i), begin, end: begin + records.length,
});

export class Script {
  // `folder` holds the page's files. Its answers are by path: values, or functions of the query.
  static async start(folder) {
    const script = new Script();
    Object.assign(script, { folder, answers: {}, streams: new Set(), opened: [], steady: true, sequence: 0 });
    script.server = createServer((request, response) => script.answer(request, response)).listen(0, '127.0.0.1');
    await once(script.server, 'listening');
    script.page = `http://127.0.0.1:${script.server.address().port}/`;
    return script;
  }

  async answer(request, response) {
    const { pathname, searchParams } = new URL(request.url, this.page);
    if (pathname === '/api/events') return this.stream(request, response);
    if (!pathname.startsWith('/api/')) return this.file(pathname === '/' ? '/index.html' : pathname, response);
    const known = { '/api/session': SESSION, ...this.answers }[pathname] ?? refused(404, `no ${pathname}`);
    const said = await (typeof known === 'function' ? known(searchParams) : known);
    response.writeHead(said.refused?.status ?? 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(said.refused ?? said));
  }

  file(path, response) {
    const place = path === '/report.css' ? join(this.folder, '../../../crates/report/src/style.css')
      : join(this.folder, path);
    response.writeHead(200, { 'content-type': KINDS[extname(path)] });
    response.end(readFileSync(place));
  }

  stream(request, response) {
    this.opened.push(request.headers['last-event-id'] ?? null);
    response.writeHead(this.signedOut ? 401 : 200, { 'content-type': 'text/event-stream' });
    if (this.signedOut) return response.end('{"error":"a token is needed"}');
    const changed = request.headers['last-event-id'] === undefined;
    response.write(`event: hello\nid: ${this.sequence}\ndata: {"changed":${changed}}\n\n`);
    if (!this.steady) return response.end();
    this.streams.add(response);
    response.on('close', () => this.streams.delete(response));
    return response;
  }

  // Tells every page an event.
  tell(name, data) {
    this.sequence += 1;
    for (const stream of this.streams) {
      stream.write(`event: ${name}\nid: ${this.sequence}\ndata: ${JSON.stringify(data)}\n\n`);
    }
  }

  // That a job changed; its further data is no part of it.
  changed(of, measured = false) {
    this.tell('job', { job: of, measured });
  }

  stop() {
    this.server.close();
    this.server.closeAllConnections();
  }
}
