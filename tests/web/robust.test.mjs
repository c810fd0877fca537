// What goes wrong, and what is let go: no WebGPU, no shader-f16, too little memory, a lost device, dispose, devices of the
// page, strict, and the codes of errors.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { launch } from './lib/browser.mjs';
import { ROOT, start } from './lib/pages.mjs';

const GRU = 'raft-gru-f32/model.aimodel';
const RING = 'state-ring-f32/model.aimodel';
const HALF = 'conv1d-int4-block-f16/model.aimodel';
const DECODER = 'bf16-decoder/model.aimodel';
const CAT = 'fn-cat-dynamic/model.aimodel';
const ENDLESS = 'loops/endless.aimodel';
const PARTLY = 'functions/partly-refused.aimodel';
const WEBGPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];

let at, bare;
before(async () => {
	const whole = readFileSync(join(ROOT, 'tests/assets', GRU, 'main.mlirb'));
	at = await start({ mounts: {
		'/broken/cut.aimodel/main.mlirb': whole.subarray(0, whole.length >> 1),
		'/broken/other.aimodel/main.mlirb': Buffer.from('<!doctype html><title>Not a model</title>'),
	} });
	if (!at.skip) bare = await launch([], WEBGPU);
});
after(async () => {
	await bare?.close();
	await at?.close();
});

/** A test in a page of its own. `run(job, argument)` runs a function in the page; it gets `{…robust/page.js, package}` first. */
function check(name, body, { browser = () => at.browser, prepare, timeout = 120_000 } = {}) {
	test(name, { timeout }, async (t) => {
		if (at.skip) return t.skip(at.skip);
		const context = await browser().newContext();
		if (prepare) await context.addInitScript(prepare);
		const page = await at.page(context);
		try {
			const run = (job, argument) => page.evaluate(`(async () => {
				const tools = { ...await import('/tests/web/robust/page.js'), package: await import('coreai-web') };
				return (${job})(tools, ${JSON.stringify(argument)});
			})()`);
			await body(run, t, page);
		} finally {
			await context.close();
		}
	});
}

const close = (found, expected) => {
	for (const [name, { shape, data }] of Object.entries(expected)) {
		assert.deepEqual(found[name].shape, shape);
		const peak = Math.max(...data.map(Math.abs));
		data.forEach((value, i) => assert.ok(Math.abs(found[name].data[i] - value) <= 1e-3 * peak, `${name}[${i}] is ${found[name].data[i]}, expected ${value}`));
	}
};

describe('without WebGPU', () => {
	const ways = {
		'no navigator.gpu': { prepare: () => Object.defineProperty(Navigator.prototype, 'gpu', { get: () => undefined }), workers: [false] },
		'no adapter': { browser: () => bare, workers: [false, true] },
	};
	for (const [name, { workers, ...how }] of Object.entries(ways)) {
		for (const worker of workers) {
			check(`${name}, ${worker ? 'in the worker' : 'in the page'}: the CPU unit, and the report says so`, async (run) => {
				const found = await run(async ({ load, inputs, plain, failure }, { GRU, worker }) => {
					const model = await load(GRU, { computeUnit: 'auto', worker });
					const fn = model.function('main');
					return {
						unit: model.computeUnit, adapter: model.adapter, report: await model.report(), results: plain(await fn.run(inputs(fn))),
						gpu: await failure(() => load(GRU, { computeUnit: 'gpu', worker })),
						strict: await failure(() => load(GRU, { computeUnit: 'auto', strict: true, worker })),
						kept: await failure(() => fn.runOnDevice(inputs(fn))),
					};
				}, { GRU, worker });
				assert.equal(found.unit, 'cpu');
				assert.equal(found.adapter, null);
				const [entry] = found.report.entries.filter(({ code }) => code === 'no_webgpu');
				assert.ok(entry?.fallback && /WebGPU/.test(entry.message), JSON.stringify(found.report));
				assert.ok(found.results.add_1.data.every(Number.isFinite));
				assert.deepEqual([found.gpu.name, found.gpu.code], ['NoAdapterError', 'no_adapter']);
				assert.deepEqual([found.strict.name, found.strict.code], ['UnsupportedError', 'strict']);
				assert.deepEqual([found.kept.name, found.kept.code], ['UnsupportedError', 'unsupported']);
			}, how);
		}
	}

	check('a software adapter is taken only when it is allowed', async (run, t) => {
		const found = await run(async ({ load, failure }, GRU) => {
			const allowed = await load(GRU);
			const auto = await load(GRU, { computeUnit: 'auto', allowSoftwareAdapter: false });
			return {
				software: allowed.adapter.software, entries: (await allowed.report()).entries.map(({ code }) => code), unit: auto.computeUnit,
				gpu: await failure(() => load(GRU, { allowSoftwareAdapter: false })),
			};
		}, GRU);
		if (!found.software) return t.skip('this browser has a GPU');
		assert.ok(found.entries.includes('software_adapter'));
		assert.equal(found.unit, 'cpu');
		assert.deepEqual([found.gpu.name, found.gpu.code], ['NoAdapterError', 'no_adapter']);
	});
});

check('a float16 asset runs without shader-f16', async (run) => {
	const found = await run(async ({ load, inputs, plain, countedDevice }, HALF) => {
		// A device of the page has no features that were not asked for.
		const model = await load(HALF, { device: await countedDevice() });
		const fn = model.function('main');
		const cpu = (await load(HALF, { computeUnit: 'cpu' })).function('main');
		return { adapter: model.adapter, gpu: plain(await fn.run(inputs(fn))), cpu: plain(await cpu.run(inputs(cpu))) };
	}, HALF);
	assert.equal(found.adapter.features.shader_f16, false);
	assert.equal(found.gpu.convolution.dtype, 'float16');
	close(found.gpu, found.cpu);
});

describe('too little memory', () => {
	check('weights above the limit of a buffer', async (run) => {
		const error = await run(async ({ load, failure, countedDevice }, HALF) => {
			const device = await countedDevice();
			const limits = device.limits;
			const small = new Proxy({}, { get: (_, name) => (name === 'maxBufferSize' || name === 'maxStorageBufferBindingSize' ? 512 : limits[name]) });
			Object.defineProperty(device, 'limits', { value: small });
			return failure(() => load(HALF, { device }));
		}, HALF);
		assert.deepEqual([error.name, error.code], ['OutOfMemoryError', 'out_of_memory'], error.message);
		assert.ok(error.needed > error.limit && error.limit <= 512, `${error.needed} of ${error.limit}`);
	});

	check('the device has none left', async (run) => {
		const error = await run(async ({ load, failure, countedDevice }, HALF) => {
			const device = await countedDevice();
			const scopes = [];
			const [push, pop] = [device.pushErrorScope.bind(device), device.popErrorScope.bind(device)];
			device.pushErrorScope = (filter) => {
				scopes.push(filter);
				push(filter);
			};
			device.popErrorScope = async () => {
				const filter = scopes.pop();
				const found = await pop();
				return filter === 'out-of-memory' ? new GPUOutOfMemoryError('there is none') : found;
			};
			return failure(() => load(HALF, { device }));
		}, HALF);
		assert.deepEqual([error.name, error.code], ['OutOfMemoryError', 'out_of_memory'], error.message);
	});

	check('states that no buffer holds; the model goes on', async (run) => {
		const found = await run(async ({ load, failure, plain }, DECODER) => {
			const model = await load(DECODER);
			const fn = model.function('main');
			const error = await failure(() => fn.createStates({ keyCache: [2, 1, 1, 2 ** 28, 16], valueCache: [2, 1, 1, 2 ** 28, 16] }));
			const states = await fn.createStates({ keyCache: [2, 1, 1, 4, 16], valueCache: [2, 1, 1, 4, 16] });
			const results = await fn.run({ input_ids: { data: [1, 2], shape: [1, 2] }, position_ids: { data: [0, 1], shape: [1, 2] } }, { states });
			return { error, results: plain(results) };
		}, DECODER);
		assert.deepEqual([found.error.name, found.error.code], ['OutOfMemoryError', 'out_of_memory'], found.error.message);
		assert.ok(found.error.needed > found.error.limit, JSON.stringify(found.error));
		assert.deepEqual(found.results.logits.shape, [1, 2, 64]);
	});
});

describe('what has no room or no form', () => {
	check('states on the CPU unit that no memory holds; the model goes on', async (run) => {
		const found = await run(async ({ load, failure, plain }, DECODER) => {
			const model = await load(DECODER, { computeUnit: 'cpu' });
			const fn = model.function('main');
			const large = [2, 1, 1, 2 ** 28, 16];
			const states = await fn.createStates({ keyCache: [2, 1, 1, 4, 16], valueCache: [2, 1, 1, 4, 16] });
			const errors = [
				await failure(() => fn.createStates({ keyCache: large, valueCache: large })),
				await failure(() => states.resize('keyCache', large)),
			];
			const results = await fn.run({ input_ids: { data: [1, 2], shape: [1, 2] }, position_ids: { data: [0, 1], shape: [1, 2] } }, { states });
			return { errors, results: plain(results) };
		}, DECODER);
		for (const { name, code } of found.errors) assert.deepEqual([name, code], ['OutOfMemoryError', 'out_of_memory']);
		assert.deepEqual(found.results.logits.shape, [1, 2, 64]);
	});

	check('64-bit results are not left on the GPU', async (run) => {
		const found = await run(async ({ load, inputs, failure }, WIDE) => {
			const fn = (await load(WIDE)).function('main');
			const results = await fn.run(inputs(fn));
			const wide = Object.entries(results).filter(([, { dtype }]) => /64$/.test(dtype)).map(([name]) => name);
			return { wide, error: await failure(() => fn.runOnDevice(inputs(fn), { outputs: wide.slice(0, 1) })) };
		}, 'staged-wide-types/model.aimodel');
		assert.ok(found.wide.length > 0);
		assert.deepEqual([found.error.name, found.error.code], ['UnsupportedError', 'unsupported']);
		assert.match(found.error.message, new RegExp(found.wide[0]));
	});

	check('addresses with broken escapes are errors with a code', async (run) => {
		const error = await run(({ load, failure }) => failure(() => load('/100%/m.aimodel')));
		assert.deepEqual([error.name, error.code], ['NetworkError', 'network'], error.message);
	});
});

test('an asset that cannot be read ends the download of its rest', { timeout: 60_000 }, async (t) => {
	if (at.skip) return t.skip(at.skip);
	const path = '/broken/large.aimodel/main.mlirb';
	at.server.put(path, Buffer.alloc(48 << 20, 'x'));
	at.server.faults.set(path, { bytesPerSecond: 1 << 20 });
	const page = await at.page();
	try {
		const begin = Date.now();
		const code = await page.evaluate(async () => {
			const { AIModel } = await import('coreai-web');
			return AIModel.load('/broken/large.aimodel/', { storage: 'none' }).then(() => 'loaded', ({ code }) => code);
		});
		assert.match(code, /^asset\./);
		assert.ok(Date.now() - begin < 30_000, `told after ${Date.now() - begin} ms`);
	} finally {
		await page.context().close();
	}
});

describe('a lost device', () => {
	check('functions without states run again, during and after', async (run) => {
		const found = await run(async ({ load, inputs, plain, countedDevice }, GRU) => {
			let device;
			let made = 0;
			const model = await load(GRU, { device: async () => (made++, device = await countedDevice()) });
			const fn = model.function('main');
			const before = plain(await fn.run(inputs(fn)));
			const running = fn.run(inputs(fn));
			device.destroy();
			const during = plain(await running);
			device.destroy();
			await device.lost;
			const after = plain(await fn.run(inputs(fn)));
			return { before, during, after, made };
		}, GRU);
		assert.deepEqual(found.during, found.before);
		assert.deepEqual(found.after, found.before);
		assert.equal(found.made, 3);
	});

	check('states and tensors on it end in DeviceLostError, new ones work', async (run) => {
		const found = await run(async ({ load, inputs, plain, failure, countedDevice }, { RING, GRU }) => {
			let device;
			const one = async () => (device = await countedDevice());
			const model = await load(RING, { device: one });
			const fn = model.function('main');
			const states = await fn.createStates();
			const before = plain(await fn.run(inputs(fn), { states }));
			device.destroy();
			await device.lost;
			const errors = [await failure(() => fn.run(inputs(fn), { states })), await failure(() => states.read('b_kept'))];
			states.dispose();
			const after = plain(await fn.run(inputs(fn), { states: await fn.createStates() }));

			const gru = (await load(GRU, { device: one })).function('main');
			const kept = await gru.runOnDevice(inputs(gru));
			device.destroy();
			await device.lost;
			errors.push(await failure(() => kept.add_1.read()), await failure(() => gru.run({ ...inputs(gru), h: kept.add_1 })));
			const again = plain(await gru.run(inputs(gru)));
			// The model is on another device now, the tensor is not.
			errors.push(await failure(() => kept.add_1.read()), await failure(() => gru.run({ ...inputs(gru), h: kept.add_1 })));
			const last = plain(await gru.run(inputs(gru)));
			return { before, after, errors, again: again.add_1, last: last.add_1 };
		}, { RING, GRU });
		for (const { name, code } of found.errors) assert.deepEqual([name, code], ['DeviceLostError', 'device_lost']);
		assert.deepEqual(found.after, found.before);
		assert.deepEqual(found.again.shape, [1, 8, 6, 7]);
		assert.deepEqual(found.last, found.again);
	});
});

describe('dispose', () => {
	check('frees what is on the device; twice is fine', async (run) => {
		const found = await run(async ({ load, inputs, failure, countedDevice }, { RING, GRU }) => {
			const live = {};
			const device = await countedDevice(live);
			const told = [];
			for (const asset of [RING, GRU, RING]) {
				const model = await load(asset, { device });
				const fn = model.function('main');
				const states = fn.descriptor.states.length ? await fn.createStates() : undefined;
				await fn.run(inputs(fn), { states });
				const kept = states ? [] : Object.values(await fn.runOnDevice(inputs(fn)));
				const { device: used } = await model.memory();
				const during = live.bytes;
				states?.dispose();
				states?.dispose();
				kept[0]?.dispose();
				kept[0]?.dispose();
				model.dispose();
				model.dispose();
				const errors = [await failure(() => fn.run(inputs(fn), { states })), await failure(() => model.memory())];
				await device.queue.onSubmittedWorkDone();
				await new Promise((done) => setTimeout(done, 50));
				told.push({ used, during, after: live.bytes, made: live.made, errors });
			}
			return told;
		}, { RING, GRU });
		for (const { used, during, after, made, errors } of found) {
			assert.ok(made > 0 && during > 0, 'nothing was made on the device');
			assert.ok(used.weights + used.states + used.activations + used.other <= during, `${JSON.stringify(used)} of ${during}`);
			assert.equal(after, 0, `${after} of ${during} bytes are left`);
			assert.deepEqual(errors.map(({ code }) => code), ['disposed', 'disposed']);
		}
	});

	check('of states lets their memory go, of the model ends a run cleanly', async (run) => {
		const found = await run(async ({ load, inputs, failure, plain }, { RING, GRU }) => {
			const model = await load(RING);
			const fn = model.function('main');
			const sizes = [(await model.memory()).device.states];
			const states = await fn.createStates();
			await fn.run(inputs(fn), { states });
			sizes.push((await model.memory()).device.states);
			states.dispose();
			await new Promise((done) => setTimeout(done, 50));
			sizes.push((await model.memory()).device.states);
			const gru = await load(GRU);
			const main = gru.function('main');
			const running = main.run(inputs(main));
			gru.dispose();
			return { sizes, run: await running.then(plain, (error) => error.code), disposed: await failure(() => states.read('b_kept')) };
		}, { RING, GRU });
		const [before, during, after] = found.sizes;
		assert.ok(during > before && after === before, found.sizes.join());
		assert.ok(found.run === 'disposed' || found.run.add_1.shape, JSON.stringify(found.run));
		assert.equal(found.disposed.code, 'disposed');
	});
});

describe('results on the device', () => {
	for (const own of [true, false]) {
		check(`feed the next run with the same numbers as through the host, ${own ? 'on a device of the page' : 'on the runtime’s device'}`, async (run) => {
			const found = await run(async ({ load, inputs, plain, countedDevice }, { GRU, own }) => {
				const model = await load(GRU, own ? { device: await countedDevice() } : {});
				const fn = model.function('main');
				const given = inputs(fn);
				let host = await fn.run(given);
				let kept = await fn.runOnDevice(given);
				const first = { host: plain(host), kept: plain({ add_1: await kept.add_1.read() }), dtype: kept.add_1.dtype, buffer: kept.add_1.buffer?.size };
				for (let i = 0; i < 3; i++) {
					host = await fn.run({ ...given, h: host.add_1 });
					const next = await fn.runOnDevice({ ...given, h: kept.add_1 });
					kept.add_1.dispose();
					kept = next;
				}
				return { first, host: plain(host), kept: plain({ add_1: await kept.add_1.read() }), mixed: plain(await fn.run({ ...given, h: kept.add_1 })) };
			}, { GRU, own });
			assert.deepEqual(found.first.kept, found.first.host);
			assert.equal(found.first.dtype, 'float32');
			assert.ok(found.first.buffer >= 4 * 8 * 6 * 7);
			assert.deepEqual(found.kept, found.host);
			assert.notDeepEqual(found.kept, found.first.kept);
			assert.ok(found.mixed.add_1.data.every(Number.isFinite));
		});
	}

	check('go through the worker as well', async (run) => {
		const found = await run(async ({ load, inputs, plain, failure }, GRU) => {
			const fn = (await load(GRU, { worker: true })).function('main');
			const here = (await load(GRU)).function('main');
			const kept = await fn.runOnDevice(inputs(fn));
			return {
				buffer: kept.add_1.buffer, read: plain({ add_1: await kept.add_1.read() }), host: plain(await fn.run(inputs(fn))),
				next: plain(await fn.run({ ...inputs(fn), h: kept.add_1 })), other: await failure(() => here.run({ ...inputs(here), h: kept.add_1 })),
			};
		}, GRU);
		assert.equal(found.buffer, null);
		assert.deepEqual(found.read, found.host);
		assert.notDeepEqual(found.next, found.host);
		assert.deepEqual([found.other.name, found.other.code], ['InputError', 'input']);
	});
});

check('a device of the page is used and stays the page’s', async (run) => {
	const found = await run(async ({ load, inputs, failure, countedDevice }, GRU) => {
		const live = {};
		const device = await countedDevice(live);
		const model = await load(GRU, { device });
		const fn = model.function('main');
		const { add_1 } = await fn.runOnDevice(inputs(fn));
		// The page's own commands can use the buffer.
		const copy = device.createBuffer({ size: add_1.buffer.size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
		const encoder = device.createCommandEncoder();
		encoder.copyBufferToBuffer(add_1.buffer, 0, copy, 0, add_1.buffer.size);
		device.queue.submit([encoder.finish()]);
		await copy.mapAsync(GPUMapMode.READ);
		const copied = Array.from(new Float32Array(copy.getMappedRange(), 0, 8));
		const read = Array.from((await add_1.read()).data.subarray(0, 8));
		model.dispose();
		device.pushErrorScope('validation');
		device.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_DST });
		const error = await device.popErrorScope();
		const lost = await Promise.race([device.lost.then(() => true), new Promise((done) => setTimeout(() => done(false), 100))]);
		return {
			made: live.made, copied, read, error: error?.message ?? null, lost,
			wrong: await failure(() => load(GRU, { device: {} })), worker: await failure(() => load(GRU, { device, worker: true })),
		};
	}, GRU);
	assert.ok(found.made > 2, 'the device was not used');
	assert.deepEqual(found.copied, found.read);
	assert.deepEqual([found.error, found.lost], [null, false]);
	assert.deepEqual([found.wrong.name, found.wrong.code], ['InputError', 'input'], found.wrong.message);
	assert.deepEqual([found.worker.name, found.worker.code], ['InputError', 'input']);
});

describe('errors have stable codes', () => {
	const wanted = {
		'no such function': ['InputError', 'no_function', async ({ load }, { GRU }) => (await load(GRU)).function('mian')],
		'a missing input': ['InputError', 'input', async ({ load, inputs }, { GRU }) => {
			const fn = (await load(GRU)).function('main');
			await fn.run({ h: inputs(fn).h });
		}],
		'an unknown input': ['InputError', 'input', async ({ load, inputs }, { GRU }) => {
			const fn = (await load(GRU)).function('main');
			await fn.run({ ...inputs(fn), z: { data: [1], shape: [1] } });
		}],
		'another shape': ['InputError', 'input', async ({ load, inputs }, { GRU }) => {
			const fn = (await load(GRU)).function('main');
			await fn.run({ ...inputs(fn), h: { data: new Float32Array(4), shape: [2, 2] } });
		}],
		'data that does not fill the shape': ['InputError', 'input', async ({ load, inputs }, { CAT }) => {
			const fn = (await load(CAT)).function('main');
			await fn.run({ ...inputs(fn), arguments_0: { data: [1, 2, 3], shape: [2, 2] } });
		}],
		'shapes that do not fit together': ['UnsupportedError', 'program', async ({ load, inputs }, { CAT }) => {
			const fn = (await load(CAT)).function('main');
			await fn.run({ arguments_0: { data: [1, 2, 3, 4], shape: [2, 2] }, arguments_1: { data: new Float32Array(9), shape: [3, 3] } });
		}],
		'an unknown output': ['InputError', 'input', async ({ load, inputs }, { GRU }) => {
			const fn = (await load(GRU)).function('main');
			await fn.run(inputs(fn), { outputs: ['y'] });
		}],
		'states that are missing': ['InputError', 'input', async ({ load, inputs }, { RING }) => {
			const fn = (await load(RING)).function('main');
			await fn.run(inputs(fn));
		}],
		'a fraction for an integer': ['InputError', 'input', async ({ load, inputs }, { RING }) => {
			const fn = (await load(RING)).function('main');
			await fn.run({ ...inputs(fn), at: { data: [0.5], shape: [1] } }, { states: await fn.createStates() });
		}],
		'a function that is not supported': ['UnsupportedError', 'unsupported', async ({ load, inputs }, { PARTLY }) => {
			const model = await load(PARTLY);
			for (const { name } of model.functions) await model.function(name).run(inputs(model.function(name)));
		}],
		'no such file': ['NetworkError', 'network', async ({ load }) => load('nothing/model.aimodel')],
		'a file cut short': [null, /^asset\./, async ({ package: { AIModel } }) => AIModel.load('/broken/cut.aimodel/', { storage: 'none' })],
		'some other file': ['AssetError', /^asset\./, async ({ package: { AIModel } }) => AIModel.load('/broken/other.aimodel/', { storage: 'none' })],
		'aborted before it began': ['AbortError', 'cancelled', async ({ load }, { GRU }) => load(GRU, { signal: AbortSignal.abort() })],
	};
	for (const [name, [type, code, job]] of Object.entries(wanted)) {
		check(name, async (run) => {
			const error = await run(`async (tools, argument) => tools.failure(() => (${job})(tools, argument))`, { GRU, RING, CAT, PARTLY });
			if (type) assert.equal(error.name, type, JSON.stringify(error));
			if (code instanceof RegExp) assert.match(error.code, code);
			else assert.equal(error.code, code, JSON.stringify(error));
			assert.ok(error.typed && error.message.length > 10, error.message);
			if (code === 'network') assert.deepEqual([error.status, /nothing\/model\.aimodel/.test(error.url)], [404, true]);
		});
	}

	for (const [unit, worker] of [['cpu', true], ['gpu', false], ['gpu', true]]) {
		check(`an endless loop is aborted, ${unit} unit ${worker ? 'in the worker' : 'in the page'}`, async (run) => {
			const found = await run(async ({ load, inputs, failure }, { ENDLESS, unit, worker }) => {
				const model = await load(ENDLESS, { computeUnit: unit, worker });
				const fn = model.function(model.functions[0].name);
				const controller = new AbortController();
				setTimeout(() => controller.abort('enough'), 500);
				const begin = performance.now();
				const error = await failure(() => fn.run(inputs(fn), { signal: controller.signal }));
				return { error, seconds: (performance.now() - begin) / 1e3 };
			}, { ENDLESS, unit, worker });
			assert.deepEqual([found.error.name, found.error.code], ['AbortError', 'cancelled'], found.error.message);
			assert.ok(found.seconds < 20, `${found.seconds} s`);
		}, { timeout: 40_000 });
	}
});
