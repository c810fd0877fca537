// Called by run.mjs: opens both sides of a model, and times turns of each.
import { open as openCoreai } from './coreai.mjs';
import { difference, uniform } from './inputs.mjs';
import { open as openOnnxruntime } from './onnxruntime.mjs';

const SEED = 20;
let sides = {};
let inputs = [];
let expected;

const calls = {
	/** The adapter of this page. */
	async adapter() {
		const adapter = await navigator.gpu?.requestAdapter();
		if (!adapter) return null;
		const { vendor, architecture, description } = adapter.info;
		return { vendor, architecture, description, software: adapter.info.isFallbackAdapter, features: [...adapter.features] };
	},
	/** Makes the inputs of a model; closes what is open. */
	async prepare(shapes) {
		for (const side of Object.values(sides)) await side.close();
		sides = {};
		expected = undefined;
		inputs = shapes.map((shape, i) => ({ data: uniform(shape, SEED + i), shape }));
	},
	/** Loads the model for a side; the milliseconds that it took. */
	async open(name, kind, model, how) {
		const start = performance.now();
		sides[name] = await (kind === 'coreai' ? openCoreai : openOnnxruntime)(model, inputs, how);
		return performance.now() - start;
	},
	/** Closes one side. */
	async close(name) {
		await sides[name]?.close();
		delete sides[name];
	},
	/** Milliseconds of `count` runs, one after another. */
	async turn(name, mode, count) {
		const side = sides[name];
		const times = [];
		for (let i = 0; i < count; i++) {
			const start = performance.now();
			await side[mode]();
			times.push(performance.now() - start);
		}
		return times;
	},
	/** The first run: its milliseconds, and how far its output is from that of the first side of this model. */
	async first(name) {
		const start = performance.now();
		const output = await sides[name].run();
		const ms = performance.now() - start;
		expected ??= output;
		return { ms, apart: difference(expected, output) };
	},
	/** The dispatches of a run with their times; only in dispatches.html. */
	dispatches: (name) => window.timed(() => sides[name].run()),
};
window.versus = calls;
