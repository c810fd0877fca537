// Measures how coreai-web loads a language bundle: cold, again from storage, and from storage without a network.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { setPriority, tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { launch, Stop } from './browser.mjs';
import { serve } from './server.mjs';
import { table } from './table.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = resolve(HERE, '../../..');
const USAGE = `usage: node loading.mjs [--model BUNDLE]… [--worker] [--web DIR] [--gpu] [--json FILE]

  --model BUNDLE   a folder with metadata.json; repeatable (../shared/models/smollm2-135m-int4)
  --worker         load in the ready-made worker
  --web DIR        the package: a folder with dist and wasm (web of this repository)
  --gpu            the machine's GPU rather than the software adapter SwiftShader
  --json FILE      all figures`;
const MEBIBYTE = 2 ** 20;

const { values: options } = parseArgs({
	options: {
		model: { type: 'string', multiple: true, default: [join(ROOT, '../shared/models/smollm2-135m-int4')] },
		worker: { type: 'boolean', default: false },
		web: { type: 'string', default: join(ROOT, 'web') },
		gpu: { type: 'boolean', default: false },
		json: { type: 'string' },
		help: { type: 'boolean', short: 'h', default: false },
	},
});

/** Figures of the three loads of a bundle, each in a newly started browser on the same profile. */
async function measure(bundle) {
	const profile = mkdtempSync(join(tmpdir(), 'coreai-loading-'));
	const server = await serve({ page: join(HERE, 'page'), web: resolve(options.web), model: dirname(bundle) });
	const loads = {};
	try {
		for (const load of ['cold', 'second', 'offline']) {
			if (load === 'offline') server.cut('model');
			const before = server.sent('model');
			const context = await launch({ gpu: options.gpu, profile });
			try {
				const page = await context.newPage();
				await page.goto(`${server.origin}/page/loading.html`);
				await page.waitForFunction('window.measure');
				const given = [`/model/${basename(bundle)}/`, { worker: options.worker }];
				loads[load] = await page.evaluate(([model, how]) => window.measure(model, how), given);
				console.error(`${load}: first token after ${(loads[load].first / 1e3).toFixed(1)} s`);
				loads[load].received = server.sent('model') - before;
			} finally {
				await context.close();
			}
		}
	} finally {
		await server.close();
		rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
	}
	return { bundle: basename(bundle), worker: options.worker, loads };
}

function print({ bundle, loads }) {
	const seconds = (ms) => (ms / 1e3).toFixed(2);
	const mebibytes = (bytes) => (bytes / MEBIBYTE).toFixed(1);
	const head = ['', 'module, s', 'loaded, s', 'first token, s', 'received, MiB', 'from storage, MiB', 'wasm memory, MiB', 'after, MiB'];
	const rows = Object.entries(loads).map(([load, of]) => [load, seconds(of.module), seconds(of.loaded), seconds(of.first),
		mebibytes(of.received), mebibytes(of.stored), mebibytes(of.wasmBytes), mebibytes(of.wasmBytesAfter)]);
	console.log(`\n${bundle}\n${table(head, rows)}`);
	for (const [load, { fallbacks }] of Object.entries(loads)) for (const text of fallbacks) console.log(`${load}: ${text}`);
	const texts = new Set(Object.values(loads).map(({ text }) => text));
	if (texts.size > 1) throw new Stop(`the loads answer differently: ${JSON.stringify([...texts])}`);
}

async function main() {
	const bundles = options.model.map((path) => resolve(path));
	for (const bundle of bundles) {
		if (!existsSync(join(bundle, 'metadata.json'))) throw new Stop(`${bundle} is no language bundle: it has no metadata.json`);
	}
	const needed = join(resolve(options.web), 'dist', 'language.js');
	if (!existsSync(needed)) throw new Stop(`${needed} is missing: run make web`);
	setPriority(5);
	const all = [];
	for (const bundle of bundles) {
		all.push(await measure(bundle));
		print(all.at(-1));
		if (options.json) writeFileSync(options.json, JSON.stringify(all, null, '\t'));
	}
}

if (options.help) console.log(USAGE);
else {
	main().catch((error) => {
		console.error(error instanceof Stop ? error.message : error);
		process.exitCode = 1;
	});
}
