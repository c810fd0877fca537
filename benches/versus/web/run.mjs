// Times coreai-web beside onnxruntime-web in one headless Chromium. README: ../../README.md
import { existsSync, writeFileSync } from 'node:fs';
import { loadavg, setPriority } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { launch, Stop } from './browser.mjs';
import { MODELS, need } from './models.mjs';
import { serve } from './server.mjs';
import { least, median, table } from './table.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const USAGE = `usage: node run.mjs [--models DIR] [--rounds N] [--only NAME]… [--json FILE]

  --models DIR     what models.py wrote (/tmp/coreai-web-models)
  --rounds N       turns of each side (5)
  --turn MS        about how long a turn takes; 1 to 30 runs (1500)
  --only NAME      a model; repeatable. There are ${Object.keys(MODELS).join(', ')};
                   resnet50 is only measured where it is named: a run takes minutes on a software adapter
  --theirs LIST    builds of onnxruntime-web to measure, the best of which counts (webgpu,jsep).
                   There are webgpu, jspi, jsep; options follow colons: webgpu:NHWC, webgpu:wgpuOnly, webgpu:capture
  --mode LIST      host (from typed arrays to a typed array), device (the result stays there); both
  --no-ours        only onnxruntime-web
  --web DIR        the package: a folder with dist and wasm (web of this repository)
  --gpu            the machine's GPU rather than the software adapter SwiftShader
  --json FILE      all figures`;
const MODES = { host: 'run', device: 'runOnDevice' };
const MOST_RUNS = 30;
// Of the largest element.
const TOLERANCE = 1e-3;

const { values: options } = parseArgs({
	options: {
		models: { type: 'string', default: '/tmp/coreai-web-models' },
		rounds: { type: 'string', default: '5' },
		turn: { type: 'string', default: '1500' },
		only: { type: 'string', multiple: true },
		theirs: { type: 'string', default: 'webgpu,jsep' },
		mode: { type: 'string', default: 'host,device' },
		'no-ours': { type: 'boolean', default: false },
		web: { type: 'string', default: join(HERE, '../../../web') },
		gpu: { type: 'boolean', default: false },
		json: { type: 'string' },
		help: { type: 'boolean', short: 'h', default: false },
	},
});

/** What `jspi:NHWC` means. */
function side(text) {
	const [build, ...rest] = text.split(':');
	if (!['webgpu', 'jspi', 'jsep'].includes(build)) throw new Stop(`no build ${build}; there are webgpu, jspi, jsep`);
	const how = { build };
	for (const word of rest) {
		if (word === 'NHWC' || word === 'NCHW') how.layout = word;
		else if (['disabled', 'wgpuOnly', 'basic', 'full'].includes(word)) how.validation = word;
		else if (word === 'capture') how.capture = true;
		else throw new Stop(`no option ${word}; there are NHWC, NCHW, disabled, wgpuOnly, basic, full, capture`);
	}
	return { name: text, kind: 'onnxruntime', how };
}

/** The sides of a model: ours, and theirs with every file of it. */
function sidesOf(name) {
	const theirs = options.theirs.split(',').map(side);
	const variants = MODELS[name].variants.flatMap((variant) =>
		theirs.map((one) => ({ ...one, name: `${one.name} ${variant}`, how: { ...one.how, variant } })));
	const ours = options['no-ours'] ? [] : [{ name: 'coreai-web', kind: 'coreai', how: {} }];
	return [...theirs, ...variants, ...ours];
}

/** Figures of one model, in ms: `{model, sides: {name: {open, first, apart, host, device}}}`. */
async function measure(page, name) {
	const call = (what, ...rest) => page.evaluate(([w, r]) => window.versus[w](...r), [what, rest]);
	const modes = options.mode.split(',');
	await call('prepare', MODELS[name].inputs);
	const sides = sidesOf(name);
	const figures = {};
	let reference;
	for (const { name: who, kind, how } of sides) {
		try {
			const open = await call('open', who, kind, `/models/${name}`, how);
			const { ms: first, apart } = await call('first', who);
			reference ??= who;
			figures[who] = { open, first, apart };
			for (const mode of modes) figures[who][mode] = [];
			if (!(apart <= TOLERANCE)) figures[who].failed = `differs from ${reference} by ${apart}`;
		} catch (error) {
			figures[who] = { failed: error.message.split('\n')[0] };
		}
		if (figures[who].failed) await call('close', who);
	}
	const fine = sides.map(({ name: who }) => who).filter((who) => !figures[who].failed);
	for (const mode of modes) {
		let slowest = 0;
		for (const who of fine) {
			const [time] = await call('turn', who, MODES[mode], 1);
			slowest = Math.max(slowest, time);
			if (time < Number(options.turn)) await call('turn', who, MODES[mode], 1);
		}
		const count = Math.min(MOST_RUNS, Math.max(1, Math.round(Number(options.turn) / slowest)));
		for (let round = 0; round < Number(options.rounds); round++) {
			for (const who of fine) figures[who][mode].push(...(await call('turn', who, MODES[mode], count)));
		}
	}
	return { model: name, sides: figures };
}

/** Prints the figures of a model and, for every mode, the ratio of the best of theirs to ours. */
function print({ model, sides }) {
	const modes = options.mode.split(',');
	console.log(`\n${model}`);
	const rows = Object.entries(sides).map(([who, { failed, open, first, apart, ...times }]) => {
		if (failed) return [who, failed];
		const ms = (value) => value.toFixed(2);
		return [who, ...modes.flatMap((mode) => [ms(median(times[mode])), ms(least(times[mode]))]),
			ms(open), ms(first), apart.toExponential(1)];
	});
	const head = modes.flatMap((mode) => [`${mode}, median ms`, 'least ms']);
	console.log(table(['', ...head, 'load ms', 'first run ms', 'differs by'], rows));
	const ours = sides['coreai-web'];
	const theirs = Object.entries(sides).filter(([who, { failed }]) => who !== 'coreai-web' && !failed);
	if (!ours || ours.failed || !theirs.length) return;
	for (const mode of modes) {
		for (const [name, of] of Object.entries({ median, least })) {
			const [best, time] = theirs.map(([who, times]) => [who, of(times[mode])]).sort((a, b) => a[1] - b[1])[0];
			console.log(`${mode}, ${name}: theirs (${best}) ÷ ours = ${(time / of(ours[mode])).toFixed(2)}`);
		}
	}
}

async function main() {
	const names = options.only ?? Object.keys(MODELS).filter((name) => !MODELS[name].long);
	need(options.models, names);
	const onnxruntime = join(HERE, 'node_modules', 'onnxruntime-web');
	if (!existsSync(onnxruntime)) throw new Stop('onnxruntime-web is missing: run npm install --ignore-scripts in benches/versus/web');
	const web = resolve(options.web);
	if (!options['no-ours'] && !existsSync(join(web, 'dist', 'index.js'))) {
		throw new Stop(`${join(web, 'dist', 'index.js')} is missing: run make web (or measure onnxruntime-web only, with --no-ours)`);
	}
	if (loadavg()[0] > 1) console.warn(`the load of this machine is ${loadavg()[0].toFixed(1)}: figures will be too high`);
	setPriority(5);
	const server = await serve({
		page: join(HERE, 'page'), models: resolve(options.models), web, 'onnxruntime-web': join(onnxruntime, 'dist'),
	});
	const all = [];
	try {
		for (const name of names) {
			// A browser of its own for every model, so that none finds the memory of another.
			const context = await launch(options);
			try {
				const page = await context.newPage();
				if (process.env.VERBOSE) page.on('console', (m) => console.log('page:', m.text()));
				page.on('pageerror', (error) => console.warn(`page: ${error.message}`));
				await page.goto(`${server.origin}/page/index.html`);
				await page.waitForFunction('window.versus');
				const adapter = await page.evaluate('window.versus.adapter()');
				if (!adapter) throw new Stop('the browser has no WebGPU adapter');
				if (!all.length) console.log(`${context.browser()?.version()}, ${adapter.vendor} ${adapter.architecture}${adapter.software ? ' (software)' : ''}`);
				all.push({ ...(await measure(page, name)), browser: context.browser()?.version(), adapter });
				print(all.at(-1));
			} finally {
				await context.close();
			}
			if (options.json) writeFileSync(options.json, JSON.stringify(all, null, '\t'));
		}
	} finally {
		await server.close();
	}
	const wrong = all.flatMap(({ model, sides }) =>
		Object.entries(sides).filter(([, { failed }]) => failed).map(([who, { failed }]) => `${model}, ${who}: ${failed}`));
	if (wrong.length) throw new Stop(wrong.join('\n'));
}

if (options.help) console.log(USAGE);
else {
	main().catch((error) => {
		console.error(error instanceof Stop ? error.message : error);
		process.exitCode = 1;
	});
}
