// Lists the dispatches of one model on one side by the time that they take.
import { join, dirname, resolve } from 'node:path';
import { setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { launch, Stop } from './browser.mjs';
import { MODELS, need } from './models.mjs';
import { serve } from './server.mjs';
import { median, table } from './table.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const USAGE = `usage: node dispatches.mjs NAME [--side coreai|webgpu|jspi|jsep] [--runs N] [--models DIR] [--web DIR] [--gpu]

Prints the kernels of a run by time, medians of N runs (3). Every dispatch is a pass of its own here, so the sum
is more than a run takes otherwise.`;
// The most lines printed.
const LINES = 30;

const { values: options, positionals } = parseArgs({
	allowPositionals: true,
	options: {
		side: { type: 'string', default: 'coreai' },
		runs: { type: 'string', default: '3' },
		models: { type: 'string', default: '/tmp/coreai-web-models' },
		web: { type: 'string', default: join(HERE, '../../../web') },
		gpu: { type: 'boolean', default: false },
	},
});

async function record(page, name) {
	const call = (what, ...rest) => page.evaluate(([w, r]) => window.versus[w](...r), [what, rest]);
	await call('prepare', MODELS[name].inputs);
	const kind = options.side === 'coreai' ? 'coreai' : 'onnxruntime';
	await call('open', 'side', kind, `/models/${name}`, kind === 'coreai' ? {} : { build: options.side });
	await call('first', 'side');
	const runs = [];
	for (let i = 0; i < Number(options.runs); i++) runs.push(await call('dispatches', 'side'));
	return runs;
}

/** Dispatches of equal name and grid as one row. */
function print(runs) {
	const rows = new Map();
	runs[0].forEach(({ name, grid }, i) => {
		const key = `${name}\n${grid}`;
		const row = rows.get(key) ?? { name, grid, count: 0, ms: 0 };
		row.count++;
		row.ms += median(runs.map((run) => run[i].ms));
		rows.set(key, row);
	});
	const sorted = [...rows.values()].sort((a, b) => b.ms - a.ms);
	const total = sorted.reduce((sum, { ms }) => sum + ms, 0);
	const line = ({ name, grid, count, ms }) => [name, grid, `${count}`, ms.toFixed(2), `${((100 * ms) / total).toFixed(1)} %`];
	console.log(table(['kernel', 'workgroups', 'dispatches', 'ms', 'share'], sorted.slice(0, LINES).map(line)));
	console.log(`${runs[0].length} dispatches, ${total.toFixed(2)} ms`);
}

async function main() {
	const [name] = positionals;
	if (!name) throw new Stop(USAGE);
	need(options.models, [name]);
	setPriority(5);
	const server = await serve({
		page: join(HERE, 'page'), models: resolve(options.models), web: resolve(options.web),
		'onnxruntime-web': join(HERE, 'node_modules', 'onnxruntime-web', 'dist'),
	});
	const context = await launch(options).catch(async (error) => {
		await server.close();
		throw error;
	});
	try {
		const page = await context.newPage();
		await page.goto(`${server.origin}/page/dispatches.html`);
		await page.waitForFunction('window.versus && window.timed');
		print(await record(page, name));
	} finally {
		await context.close();
		await server.close();
	}
}

main().catch((error) => {
	console.error(error instanceof Stop ? error.message : error);
	process.exitCode = 1;
});
