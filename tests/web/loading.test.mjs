// Sources, functions, states, errors and the worker, with the real wasm module and small recorded cases.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { bench } from './lib/package.mjs';

const assets = fileURLToPath(new URL('../assets/', import.meta.url));
const asset = (name, file) => readFileSync(`${assets}${name}/model.aimodel/${file}`);

let at, page;
before(async () => {
	at = await bench();
	if (at.skip) return;
	page = await at.page();
	await page.evaluate(async () => {
		window.web = await import('/web/dist/index.js');
		const u8 = (...values) => Uint8Array.from(values);
		/** Loads, runs the product of two uint8 tensors, disposes. */
		window.product = async (source, options) => {
			const model = await web.AIModel.load(source, options);
			const inputs = {
				arguments_0: { data: u8(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), shape: [3, 1, 4] },
				arguments_1: { data: [2, 3], shape: [2, 1] },
			};
			const { mul } = await model.function('main').run(inputs);
			const told = { unit: model.computeUnit, dtype: mul.dtype, shape: [...mul.shape], kind: mul.data.constructor.name, data: [...mul.data] };
			model.dispose();
			return told;
		};
		window.failure = async (job) => {
			try {
				await job();
			} catch (error) {
				const { name, code, message, needed, url, status } = error;
				const classes = Object.keys(web).filter((key) => key.endsWith('Error') && error instanceof web[key]);
				return { name, code, message, needed, url, status, classes, cause: error.cause === undefined ? null : String(error.cause?.message ?? error.cause) };
			}
			return null;
		};
	});
});
after(() => at.close());

function check(name, body) {
	test(name, { timeout: 40_000 }, async (t) => (at.skip ? t.skip(at.skip) : body(t)));
}

const DATA = [];
for (const row of [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]) for (const by of [2, 3]) DATA.push(...row.map((x) => x * by));
const same = (found, unit) => assert.deepEqual(found, { unit, dtype: 'uint8', shape: [3, 2, 4], kind: 'Uint8Array', data: DATA });

for (const worker of [false, true]) {
	const where = worker ? 'in the worker' : 'in the page';
	for (const url of ['/assets/fn-two-mul-u8/model.aimodel', '/assets/fn-two-mul-u8/model.aimodel/', '/assets/fn-two-mul-u8/model.aimodel/main.mlirb']) {
		check(`${url} ${where}`, async () => {
			same(await page.evaluate(([url, worker]) => window.product(url, { worker, computeUnit: 'cpu' }), [url, worker]), 'cpu');
		});
	}

	check(`a bundle ${where}`, async () => {
		const metadata = { kind: 'llm', name: 'two', assets: { main: 'in here/two.aimodel' } };
		at.server.put('/bundle/metadata.json', JSON.stringify(metadata));
		for (const file of ['main.mlirb', 'main.hash', 'metadata.json']) at.server.put(`/bundle/in here/two.aimodel/${file}`, asset('fn-two-mul-u8', file));
		same(await page.evaluate((worker) => window.product('bundle', { worker, computeUnit: 'cpu' }), worker), 'cpu');
	});

	check(`files, handles and blobs ${where}`, async () => {
		const results = await page.evaluate(async (worker) => {
			const base = '/assets/fn-two-mul-u8/model.aimodel/';
			const parts = {};
			for (const name of ['main.mlirb', 'main.hash', 'metadata.json']) parts[name] = await (await fetch(base + name)).blob();
			const file = (path, blob) => {
				const made = new File([blob], path.split('/').at(-1));
				Object.defineProperty(made, 'webkitRelativePath', { value: path });
				return made;
			};
			const root = await navigator.storage.getDirectory();
			const folder = await root.getDirectoryHandle('picked', { create: true });
			const inner = await folder.getDirectoryHandle('only.aimodel', { create: true });
			for (const [name, blob] of Object.entries(parts)) {
				const stream = await (await inner.getFileHandle(name, { create: true })).createWritable();
				await stream.write(blob);
				await stream.close();
			}
			const sources = {
				blobs: parts,
				nested: Object.fromEntries(Object.entries(parts).map(([name, blob]) => [`a.aimodel/${name}`, blob])),
				bytes: { 'main.mlirb': new Uint8Array(await parts['main.mlirb'].arrayBuffer()) },
				file: new File([parts['main.mlirb']], 'main.mlirb'),
				list: Object.entries(parts).map(([name, blob]) => file(`picked/x.aimodel/${name}`, blob)),
				directory: folder,
				asset: inner,
				handle: await inner.getFileHandle('main.mlirb'),
			};
			const results = {};
			for (const [name, source] of Object.entries(sources)) results[name] = await window.product(source, { worker, computeUnit: 'cpu' });
			return results;
		}, worker);
		assert.equal(Object.keys(results).length, 8);
		for (const found of Object.values(results)) same(found, 'cpu');
	});

	check(`errors keep their class, code and fields ${where}`, async () => {
		const found = await page.evaluate(async (worker) => {
			const options = { worker, computeUnit: 'cpu' };
			const load = (source, more) => () => web.AIModel.load(source, { ...options, ...more });
			const blob = (text) => new Blob([text]);
			const model = await web.AIModel.load('/assets/fn-two-mul-u8/model.aimodel', options);
			const main = model.function('main');
			const one = { data: [1, 2], shape: [2, 1] };
			const disposed = await web.AIModel.load('/assets/fn-two-mul-u8/model.aimodel', { worker: false, computeUnit: 'cpu' });
			disposed.dispose();
			const reason = new Error('enough');
			return {
				damaged: await failure(load({ 'main.mlirb': blob('not an asset') })),
				empty: await failure(load({ 'other.txt': blob('') })),
				two: await failure(load({ 'b/a.aimodel/main.mlirb': blob(''), 'b/b.aimodel/main.mlirb': blob('') })),
				missing: await failure(load('/assets/none.aimodel')),
				refused: await failure(load('/assets/fn-two-mul-u8/model.aimodel', { signal: AbortSignal.abort(reason) })),
				noFunction: await failure(() => model.function('other')),
				noInput: await failure(() => main.run({ arguments_1: one })),
				unknown: await failure(() => main.run({ arguments_0: one, arguments_1: one, other: one })),
				range: await failure(() => main.run({ arguments_0: { data: new Array(12).fill(256), shape: [3, 1, 4] }, arguments_1: one })),
				shape: await failure(() => main.run({ arguments_0: one, arguments_1: one })),
				output: await failure(() => main.run({ arguments_0: one, arguments_1: one }, { outputs: ['none'] })),
				onDevice: await failure(() => main.runOnDevice({ arguments_0: one, arguments_1: one })),
				aborted: await failure(() => main.run({ arguments_0: one, arguments_1: one }, { signal: AbortSignal.abort(reason) })),
				disposed: await failure(() => disposed.report()),
				device: await failure(load('/x', { device: () => null, worker: true })),
				url: await failure(load('http://')),
				options: await failure(load('/assets/fn-two-mul-u8/model.aimodel', { precision: 'vague' })),
			};
		}, worker);
		const told = Object.fromEntries(Object.entries(found).map(([name, error]) => [name, error && `${error.name} ${error.code}`]));
		assert.deepEqual(told, {
			damaged: told.damaged, empty: 'AssetError asset.not_found', two: 'AssetError asset.not_found', missing: 'NetworkError network',
			refused: 'AbortError cancelled', noFunction: 'InputError no_function', noInput: 'InputError input', unknown: 'InputError input',
			range: 'InputError input', shape: told.shape, output: 'InputError input', onDevice: 'UnsupportedError unsupported',
			aborted: 'AbortError cancelled', disposed: 'CoreAIError disposed', device: 'InputError input', url: 'InputError input', options: 'InputError input',
		});
		assert.match(told.damaged, /^AssetError asset\./);
		assert.match(told.shape, /^InputError /);
		assert.equal(found.missing.status, 404);
		assert.equal(found.refused.cause, 'enough');
		assert.equal(found.aborted.cause, 'enough');
		assert.ok(found.aborted.classes.includes('AbortedError') && found.missing.classes.includes('CoreAIError'));
		assert.match(found.noInput.message, /arguments_0/);
	});

	check(`states go from run to run ${where}`, async () => {
		const found = await page.evaluate(async (worker) => {
			const model = await web.AIModel.load('/assets/state-ring-f32/model.aimodel', { worker, computeUnit: 'cpu' });
			const main = model.function('main');
			const states = await main.createStates();
			const before = await states.read('b_kept');
			await states.write('b_kept', { data: new Float32Array(48).fill(0.5), shape: [1, 8, 6] });
			const row = { data: [1, 2, 3, 4, 5, 6], shape: [1, 1, 6] };
			await main.run({ row, at: { data: [2], shape: [1] } }, { states });
			const after = await states.read('b_kept');
			const other = await main.createStates();
			const result = {
				shape: states.shape('b_kept'), zeros: before.data.every((x) => x === 0), row: [...after.data.slice(12, 18)], rest: after.data[0],
				other: (await other.read('b_kept')).data.every((x) => x === 0),
				without: await failure(() => main.run({ row, at: { data: [2], shape: [1] } })),
				unknown: await failure(() => states.read('none')),
				wrong: await failure(() => states.write('b_kept', row)),
			};
			states.dispose();
			result.disposed = await failure(() => states.read('b_kept'));
			model.dispose();
			return result;
		}, worker);
		assert.deepEqual(found.shape, [1, 8, 6]);
		assert.ok(found.zeros && found.other);
		assert.deepEqual(found.row, [1, 2, 3, 4, 5, 6]);
		assert.equal(found.rest, 0.5);
		for (const name of ['without', 'unknown', 'wrong']) assert.equal(found[name]?.code, 'input', name);
		assert.equal(found.disposed?.code, 'disposed');
		assert.match(found.without.message, /createStates/);
	});

	check(`a run that waits for its turn can be aborted ${where}`, async () => {
		const found = await page.evaluate(async (worker) => {
			const model = await web.AIModel.load('/assets/fn-two-mul-u8/model.aimodel', { worker, allowSoftwareAdapter: true });
			const main = model.function('main');
			const inputs = { arguments_0: { data: new Array(12).fill(1), shape: [3, 1, 4] }, arguments_1: { data: [1, 2], shape: [2, 1] } };
			const controller = new AbortController();
			const first = main.run(inputs);
			const second = failure(() => main.run(inputs, { signal: controller.signal }));
			const third = main.run(inputs);
			controller.abort('enough');
			const result = { first: (await first).mul.data[4], second: await second, third: (await third).mul.data[4] };
			model.dispose();
			return result;
		}, worker);
		assert.deepEqual([found.first, found.third], [2, 2]);
		assert.deepEqual([found.second?.name, found.second?.cause], ['AbortError', 'enough']);
	});

	check(`report and memory ${where}`, async () => {
		const { report, memory, functions } = await page.evaluate(async (worker) => {
			const model = await web.AIModel.load('/assets/fn-two-mul-u8/model.aimodel', { worker, computeUnit: 'cpu', storage: 'none' });
			const result = { report: await model.report(), memory: await model.memory(), functions: model.functions };
			model.dispose();
			return result;
		}, worker);
		assert.equal(report.compute_unit, 'cpu');
		assert.ok(Array.isArray(report.entries));
		assert.ok(memory.wasmBytes > 1 << 20);
		assert.deepEqual(Object.keys(memory.device), ['weights', 'states', 'activations', 'other']);
		assert.deepEqual(functions[0].inputs[0], { name: 'arguments_0', dtype: 'uint8', shape: [3, 1, 4] });
	});

	check(`on the GPU, results stay there ${where}`, async () => {
		const found = await page.evaluate(async (worker) => {
			const model = await web.AIModel.load('/assets/state-shift-f16/model.aimodel', { worker, allowSoftwareAdapter: true });
			const main = model.function('main');
			const x = { data: new Float32Array(12).fill(0.5), shape: [2, 3, 2] };
			const states = await main.createStates();
			const on = await main.runOnDevice({ x }, { states });
			const again = await main.createStates();
			const { convolution } = await main.run({ x }, { states: again });
			const result = {
				unit: model.computeUnit, dtype: on.convolution.dtype, shape: [...on.convolution.shape], hasBuffer: on.convolution.buffer !== null,
				size: on.convolution.buffer?.size ?? null, kind: convolution.data.constructor.name, data: [...convolution.data],
			};
			result.read = await on.convolution.read().then(({ data }) => [...data], (error) => error.code);
			model.dispose();
			return result;
		}, worker);
		assert.equal(found.unit, 'gpu');
		assert.deepEqual(found.shape, [2, 4, 5]);
		assert.equal(found.kind, 'Float32Array');
		assert.equal(found.hasBuffer, !worker);
		if (!worker) assert.ok(found.size >= 160);
		if (found.read !== 'unsupported') assert.deepEqual(found.read, found.data);
	});
}

check('a given worker serves several models', async () => {
	const found = await page.evaluate(async () => {
		const worker = new Worker('/web/dist/worker.js', { type: 'module' });
		const options = { worker, computeUnit: 'cpu' };
		const both = await Promise.all([product('/assets/fn-two-mul-u8/model.aimodel', options), product('/assets/fn-two-mul-u8/model.aimodel/main.mlirb', options)]);
		worker.terminate();
		return both;
	});
	found.forEach((one) => same(one, 'cpu'));
});

check('a worker that fails is an error', async () => {
	const error = await page.evaluate(() => {
		const worker = new Worker('/nowhere.js', { type: 'module' });
		return failure(() => web.AIModel.load('/assets/fn-two-mul-u8/model.aimodel', { worker }));
	});
	assert.equal(error?.code, 'worker');
});

check('results of the GPU are inputs of the next call', async () => {
	const found = await page.evaluate(async () => {
		const adapter = await navigator.gpu.requestAdapter();
		const device = await adapter.requestDevice();
		const model = await web.AIModel.load('/assets/fn-two-mul-u8/model.aimodel', { device });
		const main = model.function('main');
		const arguments_0 = { data: Uint8Array.from({ length: 12 }, (_, i) => i), shape: [3, 1, 4] };
		const { mul } = await main.runOnDevice({ arguments_0, arguments_1: { data: [1, 2], shape: [2, 1] } });
		const read = [...(await mul.read()).data];
		mul.dispose();
		const gone = await failure(() => mul.read());
		device.destroy();
		const lost = await failure(() => main.run({ arguments_0, arguments_1: { data: [1, 2], shape: [2, 1] } }));
		return { unit: model.computeUnit, read, gone, lost };
	});
	assert.equal(found.unit, 'gpu');
	assert.deepEqual(found.read.slice(0, 8), [0, 1, 2, 3, 0, 2, 4, 6]);
	assert.equal(found.gone?.code, 'disposed');
	assert.equal(found.lost?.name, 'DeviceLostError');
});

check('a lost device is replaced and a function without states runs again', async () => {
	const found = await page.evaluate(async () => {
		const adapter = async () => navigator.gpu.requestAdapter();
		const devices = [];
		const device = async () => {
			devices.push(await (await adapter()).requestDevice());
			return devices.at(-1);
		};
		const model = await web.AIModel.load('/assets/fn-two-mul-u8/model.aimodel', { device });
		const main = model.function('main');
		const inputs = { arguments_0: { data: new Array(12).fill(3), shape: [3, 1, 4] }, arguments_1: { data: [1, 2], shape: [2, 1] } };
		await main.run(inputs);
		devices[0].destroy();
		const { mul } = await main.run(inputs);
		return { data: [...mul.data].slice(0, 8), devices: devices.length };
	});
	assert.deepEqual(found, { data: [3, 3, 3, 3, 6, 6, 6, 6], devices: 2 });
});

