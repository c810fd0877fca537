// In the page: runs recorded cases through the package's public API.
import { AIModel } from 'coreai-web';
import { reader, written } from './safetensors.js';

let shared;

/** One device for all cases, and another after it was lost. */
function device() {
	shared ??= (async () => {
		const adapter = await navigator.gpu.requestAdapter();
		if (!adapter) throw new Error('no WebGPU adapter');
		const requiredLimits = {};
		for (const name of [
			'maxBufferSize', 'maxStorageBufferBindingSize', 'maxStorageBuffersPerShaderStage', 'maxComputeInvocationsPerWorkgroup',
			'maxComputeWorkgroupSizeX', 'maxComputeWorkgroupSizeY', 'maxComputeWorkgroupSizeZ', 'maxComputeWorkgroupStorageSize',
			'maxComputeWorkgroupsPerDimension',
		]) requiredLimits[name] = adapter.limits[name];
		const requiredFeatures = ['subgroups', 'shader-f16', 'timestamp-query'].filter((feature) => adapter.features.has(feature));
		const made = await adapter.requestDevice({ requiredLimits, requiredFeatures });
		made.lost.then(() => { shared = undefined; });
		return made;
	})();
	return shared;
}

async function bytes(url) {
	const answer = await fetch(url);
	if (!answer.ok) throw new Error(`${url}: status ${answer.status}`);
	return answer.arrayBuffer();
}

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

/** Text of bytes that a call to node can carry. */
function base64(of) {
	let text = '';
	for (let at = 0; at < of.length; at += 0x8000) text += String.fromCharCode(...of.subarray(at, at + 0x8000));
	return btoa(text);
}

/**
 * Runs a case.
 * @param {{url: string, only?: 'load'}} place folder of the case; `only: 'load'` runs nothing
 * @param {'gpu' | 'cpu'} computeUnit
 * @returns {Promise<{file: string} | {code: string, message: string}>} a file of tensors as base64, or the error
 */
export async function runCase({ url, only }, computeUnit) {
	let model;
	try {
		const record = JSON.parse(new TextDecoder().decode(await bytes(`${url}/case.json`)));
		const files = {};
		const tensors = async (file, key, dtype) => {
			files[file] ??= bytes(`${url}/${file}.safetensors`).then(reader);
			return (await files[file])(key, dtype);
		};
		model = await AIModel.load(new URL(`${url}/model.aimodel/`, location.href), {
			computeUnit, precision: 'exact', allowSoftwareAdapter: true, storage: 'none',
			device: computeUnit === 'gpu' ? device : undefined,
		});
		if (model.computeUnit !== computeUnit) throw new Error(`runs on the ${model.computeUnit} unit`);
		const run = only !== 'load' && record.steps.length;
		return { file: base64(written(run ? await steps(record, model, tensors) : [])) };
	} catch (error) {
		return { code: error.code ?? 'page', message: String(error.message), stack: error.code ? undefined : error.stack };
	} finally {
		model?.dispose();
	}
}
