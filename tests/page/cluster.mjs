// A real cluster on this machine: Redis, a coordinator, workers, a job. Everything lies in one folder.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

// What a prompt may hold, since people and models write them: were it markup, `hacked` would be set.
export const INJECTION = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>';

// Short, for models with little context, and with a rationale.
const TEMPLATE = `name = "happier"
kind = "compare"
preamble = "Which sentence is happier? Answer 1 or 2."
sample = "\\n\\n1: {response_1}\\n2: {response_2}\\n"
ending = "Happier="
verdicts = ["1", "2"]
[rationale]
request = "Say why."
begin = "Because"
stop = ["."]
`;

export class Cluster {
  static async start(binary, model, folder) {
    const cluster = new Cluster();
    Object.assign(cluster, { binary, model, folder, processes: new Map(), settings: {} });
    mkdirSync(folder, { recursive: true });
    [cluster.redisPort, cluster.port, cluster.pagePort] = [await freePort(), await freePort(), await freePort()];
    cluster.run('redis', 'redis-server', ['--port', cluster.redisPort, '--save', '', '--dir', folder], {});
    cluster.startCoordinator();
    const kinds = ['rollout', 'reward', 'learner', 'labeler', 'labeler'];
    kinds.forEach((kind, i) => cluster.startWorker(kind, `${kind}-${i}`));
    return cluster;
  }

  get page() {
    return `http://127.0.0.1:${this.pagePort}/`;
  }

  run(name, program, args, env) {
    const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const log = createWriteStream(join(this.folder, `${name}.log`), { flags: 'a' });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    this.processes.set(name, child);
  }

  service(name, kind, env) {
    this.run(name, this.binary, [kind], {
      RLAIF__QUEUE__URL: `redis://127.0.0.1:${this.redisPort}`,
      RLAIF__QUEUE__OPTIONS__LEASE: '2s',
      RLAIF__ARTIFACTS__URL: join(this.folder, 'jobs'),
      RLAIF__METRICS__ADDRESS: '127.0.0.1:0',
      ...env,
    });
  }

  startCoordinator() {
    this.service('coordinator', 'coordinator', {
      RLAIF__SERVER__ADDRESS: `127.0.0.1:${this.port}`,
      RLAIF__PAGE__ADDRESS: `127.0.0.1:${this.pagePort}`,
      RLAIF__COORDINATOR__DATA_DIR: this.folder,
      ...this.settings,
    });
  }

  startWorker(kind, name) {
    this.service(name, kind, { RLAIF__WORKER__NAME: name });
  }

  async end(name, signal) {
    const child = this.processes.get(name);
    this.processes.delete(name);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  async stop() {
    await Promise.all([...this.processes.keys()].map((name) => this.end(name, 'SIGKILL')));
  }

  // What a client command prints.
  async ask(...args) {
    const env = { ...process.env, RLAIF_SERVER: `http://127.0.0.1:${this.port}` };
    const { stdout } = await promisify(execFile)(this.binary, args, { env });
    return stdout.trim();
  }

  // Where jobs name their labeler.
  get labeler() {
    return join(this.folder, 'labelers', basename(this.model, '.gguf'));
  }

  // Puts a folder in the labeler's place whose configuration cannot be read. It may be another time, for all a
  // worker knows, so each look at the labeler is tried again, until it is a dead letter.
  spoilLabeler() {
    mkdirSync(join(this.labeler, 'config.json'), { recursive: true });
  }

  // Puts the model itself there.
  mendLabeler() {
    rmSync(this.labeler, { recursive: true });
    symlinkSync(this.model, this.labeler);
  }

  // A job through every stage: rationales, a reward model, policy steps, an evaluation by a judge of its own. It
  // has a price and a budget, of which it takes a part.
  async submit({ name, subjects, pairs, steps }) {
    const lines = (texts) => texts.map((prompt) => `${JSON.stringify({ prompt })}\n`).join('');
    const ask = (subject) => `Write one happy sentence about ${subject}.`;
    writeFileSync(join(this.folder, 'prompts.jsonl'), lines([...subjects.map(ask), ask(INJECTION)]));
    const heldout = subjects.slice(0, 6).map((subject) => `${ask(subject)} It rains.`);
    writeFileSync(join(this.folder, 'heldout.jsonl'), lines(heldout));
    const job = `name = "${name}"
seed = 3
chunk_size = 2
policy = { model = "${this.model}", chat = false }
lora = { rank = 4 }
data = { prompts = "prompts.jsonl", heldout_prompts = "heldout.jsonl" }
sampling = { max_new_tokens = 16, stop = ["."] }
[labeler]
model = "${this.labeler}"
template = "happier.toml"
price = { input_per_1k = 0.15 }
max_cost = ${Math.ceil(pairs / 3)}
asking = { reasoning = { max_tokens = 12 } }
[evaluate.judge]
model = "${this.model}"
price = { input_per_1k = 0.15 }
[reward_model]
pairs = ${pairs}
heldout_fraction = 0.25
batch_size = 8
optimizer = { lr = 1e-3 }
[rl]
reward = "model"
steps = ${steps}
batch_size = 6
reinforce = { policy = { lr = 1e-3 }, value = { lr = 1e-3 } }
`;
    writeFileSync(join(this.folder, 'happier.toml'), TEMPLATE);
    const file = join(this.folder, 'job.toml');
    writeFileSync(file, job);
    for (let tries = 0; ; tries += 1) {
      try {
        return await this.ask('submit', file);
      } catch (error) {
        // The coordinator may still wait for Redis.
        if (tries === 50 || !/try again|connect/.test(error.stderr)) throw error;
        await new Promise((resume) => setTimeout(resume, 200));
      }
    }
  }
}
