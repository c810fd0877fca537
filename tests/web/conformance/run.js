// Runs a recorded case through the package's public API, in the page or in node.
import { reader, written } from './safetensors.js';

/** What a step is asked for: outputs by name, or by position where PyTorch's results stand in for them. */
function wanted(step, byPosition, descriptor) {
	const named = Object.keys(step.outputs ?? {});
	if (named.length || !byPosition) return named.map((name) => ({ key: `outputs/${name}`, name }));
	return Object.keys(step.reference ?? {}).map((index) => {
		const port = descriptor.outputs[Number(index)];
		if (!port) throw new Error(`reference ${index} is no position of an output`);
		return { key: `reference/${index}`, name: port.name };
	});
}

async function steps(record, model, tensors) {
	const found = [];
	const keep = (key, { dtype, shape, data }) => found.push([key, { dtype, shape: [...shape], data }]);
	const fn = model.function(record.function ?? 'main');
	// Results of PyTorch can only be compared where a tolerance says how close they are.
	const byPosition = Boolean(record.tolerance) && record.steps.some((step) => Object.keys(step.reference ?? {}).length);
	let states;
	if (fn.descriptor.states.length) {
		const before = Object.entries(record.steps[0].state_before ?? {});
		states = await fn.createStates(Object.fromEntries(before.map(([name, { shape }]) => [name, shape])));
	}
	try {
		for (const [number, step] of record.steps.entries()) {
			for (const [name, { key, dtype }] of Object.entries(step.state_before ?? {})) {
				if (key) await states.write(name, await tensors('states', key, dtype));
			}
			const inputs = {};
			for (const [name, { key, dtype }] of Object.entries(step.inputs ?? {})) inputs[name] = await tensors('inputs', key, dtype);
			const outputs = wanted(step, byPosition, fn.descriptor);
			const results = await fn.run(inputs, { states, outputs: outputs.map(({ name }) => name) });
			for (const { key, name } of outputs) keep(`${number}/${key}`, results[name]);
			for (const name of Object.keys(step.state_after ?? {})) keep(`${number}/states/${name}`, await states.read(name));
		}
	} finally {
		states?.dispose();
	}
	return found;
}

/**
 * Runs a case and gives what came out as a file of tensors, or the error it ended in.
 * @param {typeof import('coreai-web').AIModel} AIModel
 * @param {{read(name: string): Promise<ArrayBuffer>, source: import('coreai-web').ModelSource, only?: 'load'}} place files of
 *   the case's folder, its asset; `only: 'load'` runs nothing
 * @param {import('coreai-web').LoadOptions} options
 * @returns {Promise<{file: Uint8Array} | {code: string, message: string, stack?: string}>}
 */
export async function runCase(AIModel, { read, source, only }, options) {
	let model;
	try {
		const record = JSON.parse(new TextDecoder().decode(await read('case.json')));
		const files = {};
		const tensors = async (file, key, dtype) => {
			files[file] ??= read(`${file}.safetensors`).then(reader);
			return (await files[file])(key, dtype);
		};
		model = await AIModel.load(source, { precision: 'exact', allowSoftwareAdapter: true, storage: 'none', ...options });
		if (model.computeUnit !== options.computeUnit) throw new Error(`runs on the ${model.computeUnit} unit`);
		const run = only !== 'load' && record.steps.length;
		return { file: written(run ? await steps(record, model, tensors) : []) };
	} catch (error) {
		return { code: error.code ?? 'page', message: String(error.message), stack: error.code ? undefined : error.stack };
	} finally {
		model?.dispose();
	}
}
