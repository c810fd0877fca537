// In the page: language models by key, and what tests do with them.
import { LanguageModel } from 'coreai-web/language';

const models = new Map();
let given;

/** Tasks of the page's main thread above 50 ms, in milliseconds. */
export const longTasks = [];
new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((entry) => entry.duration))).observe({ type: 'longtask', buffered: true });

/** A device of the page, kept so that it can be destroyed. */
export async function device() {
	const adapter = await navigator.gpu.requestAdapter();
	const { maxBufferSize, maxStorageBufferBindingSize, maxStorageBuffersPerShaderStage } = adapter.limits;
	given = await adapter.requestDevice({ requiredLimits: { maxBufferSize, maxStorageBufferBindingSize, maxStorageBuffersPerShaderStage } });
	return given;
}

/** Loses that device. */
export async function lose() {
	given.destroy();
	await given.lost;
}

const told = (error) => ({ name: error.name, code: error.code, message: error.message, cause: error.cause === undefined ? null : String(error.cause) });

/**
 * Loads a model. `ownDevice`: `'function'` gives a function, `'object'` a device.
 */
export async function load(key, url, { ownDevice, ...options }) {
	const device_ = ownDevice === 'function' ? device : ownDevice === 'object' ? await device() : undefined;
	const begin = performance.now();
	const model = await LanguageModel.load(url, { allowSoftwareAdapter: true, precision: 'exact', storage: 'none', ...options, device: device_ });
	models.set(key, model);
	return {
		seconds: (performance.now() - begin) / 1e3, unit: model.model.computeUnit, contextLength: model.contextLength,
		memory: await model.model.memory(), report: await model.model.report(),
	};
}

export async function memory(key) {
	return models.get(key).model.memory();
}

export function dispose(key) {
	models.get(key).dispose();
	models.delete(key);
}

export const codec = async (key, text) => {
	const ids = [...await models.get(key).encode(text)];
	return { ids, text: await models.get(key).decode(ids) };
};

/**
 * Answers. After `at` parts `then` happens: `lose` destroys the page's device, `abort` aborts, `leave` leaves the loop.
 * Gives the parts and the turn, or the error of the loop and of the turn.
 */
export async function answer(key, messages, options = {}, { at, then } = {}) {
	const controller = new AbortController();
	if (then === 'abort' && at === 0) controller.abort('enough');
	const stream = models.get(key).chat(messages, { ...options, signal: controller.signal });
	const parts = [];
	let error = null;
	try {
		for await (const part of stream) {
			parts.push(part);
			if (parts.length !== at) continue;
			if (then === 'lose') given.destroy();
			if (then === 'abort') controller.abort('enough');
			if (then === 'leave') break;
		}
	} catch (caught) {
		error = told(caught);
	}
	const turn = await stream.turn.catch((caught) => ({ error: told(caught) }));
	return { parts, turn, error };
}

/**
 * The most likely token after each position of a sequence, computed in steps of the given sizes; later steps read the
 * cache. Ends early when `seconds` have passed and `least` steps are done.
 * @returns `{tokens, seconds}` of every step that was done
 */
export async function mostLikely(key, ids, sizes, { seconds: limit = Infinity, least = sizes.length } = {}) {
	const begin = performance.now();
	const fn = models.get(key).model.function('main');
	const shapes = Object.fromEntries(fn.descriptor.states.map(({ name, shape }) => [name, shape.map((extent) => extent ?? ids.length)]));
	const states = await fn.createStates(shapes);
	const tokens = [];
	const seconds = [];
	let start = 0;
	for (const [step, size] of sizes.entries()) {
		const end = start + size;
		const positions = Array.from({ length: end }, (_, i) => i);
		const { logits } = await fn.run({
			input_ids: { data: ids.slice(start, end), shape: [1, size] },
			position_ids: { data: positions, shape: [1, end] },
		}, { states });
		const vocabulary = logits.shape.at(-1);
		for (let row = 0; row < size; row++) {
			const of = logits.data.subarray(row * vocabulary, (row + 1) * vocabulary);
			let best = 0;
			for (let i = 1; i < vocabulary; i++) if (of[i] > of[best]) best = i;
			tokens.push(best);
		}
		seconds.push((performance.now() - begin) / 1e3 - seconds.reduce((a, b) => a + b, 0));
		start = end;
		if (step + 1 >= least && (performance.now() - begin) / 1e3 > limit) break;
	}
	states.dispose();
	return { tokens, seconds };
}
