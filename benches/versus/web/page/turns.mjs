// Called by run.mjs: opens both sides of a model, and times turns of each.
import { open as openCoreai } from './coreai.mjs';
import { difference, uniform } from './inputs.mjs';
import { open as openOnnxruntime } from './onnxruntime.mjs';

const SEED = 20;
let sides = {};
let inputs = [];

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
	/** The difference of what two sides compute, relative to the largest element. */
	async compare(expected, found) {
		const reference = await sides[expected].run();
		return difference(reference, await sides[found].run());
	},
};
window.versus = calls;
