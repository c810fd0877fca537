// Puts every dispatch of this page into a compute pass of its own, with timestamps, whichever side makes it.

// Dispatches timed in one run; the most timestamps that a query set may have is twice that.
const MOST = 2048;
let device;
let queries;
let recorded = null;
const codes = new WeakMap();
const names = new WeakMap();

const patch = (type, method, make) => {
	const original = type.prototype[method];
	type.prototype[method] = make(original);
};

patch(GPUAdapter, 'requestDevice', (original) => async function requestDevice(descriptor = {}) {
	const features = new Set(descriptor.requiredFeatures ?? []);
	features.add('timestamp-query');
	device = await original.call(this, { ...descriptor, requiredFeatures: [...features] });
	queries = device.createQuerySet({ type: 'timestamp', count: 2 * MOST });
	return device;
});
patch(GPUDevice, 'createShaderModule', (original) => function createShaderModule(descriptor) {
	const module = original.call(this, descriptor);
	codes.set(module, descriptor.code);
	return module;
});

/** What a pipeline is called: the first line of its shader where that is a comment, or its label. */
function named(pipeline, descriptor) {
	const code = codes.get(descriptor.compute.module) ?? '';
	const [, comment] = /^\/\/ *(.*)/.exec(code) ?? [];
	names.set(pipeline, descriptor.label || comment || `a shader of ${code.length} characters`);
	return pipeline;
}
patch(GPUDevice, 'createComputePipeline', (original) => function createComputePipeline(descriptor) {
	return named(original.call(this, descriptor), descriptor);
});
patch(GPUDevice, 'createComputePipelineAsync', (original) => async function createComputePipelineAsync(descriptor) {
	return named(await original.call(this, descriptor), descriptor);
});

patch(GPUCommandEncoder, 'beginComputePass', (original) => function beginComputePass(descriptor) {
	if (!recorded) return original.call(this, descriptor);
	// Calls that set something, by method and slot: each is repeated in the pass of every dispatch.
	const state = new Map();
	let pipeline;
	const timed = (method, grid) => (...arguments_) => {
		const at = recorded.length;
		if (at === MOST) throw new Error(`more than ${MOST} dispatches in a run`);
		recorded.push({ name: names.get(pipeline) ?? 'unknown', grid: grid(arguments_) });
		const timestampWrites = { querySet: queries, beginningOfPassWriteIndex: 2 * at, endOfPassWriteIndex: 2 * at + 1 };
		const pass = original.call(this, { timestampWrites });
		for (const [set, given] of state.values()) pass[set](...given);
		pass[method](...arguments_);
		pass.end();
	};
	const pass = {
		label: descriptor?.label ?? '',
		dispatchWorkgroups: timed('dispatchWorkgroups', (grid) => grid.join('×')),
		dispatchWorkgroupsIndirect: timed('dispatchWorkgroupsIndirect', () => 'indirect'),
		end() {},
	};
	for (const method of ['setPipeline', 'setBindGroup', 'setImmediates', 'setImmediateData']) {
		pass[method] = (...given) => {
			if (method === 'setPipeline') [pipeline] = given;
			state.set(method === 'setPipeline' ? method : `${method} ${given[0]}`, [method, given]);
		};
	}
	for (const method of ['pushDebugGroup', 'popDebugGroup', 'insertDebugMarker']) pass[method] = () => {};
	return pass;
});

/**
 * Calls `run` and tells its dispatches, in order.
 *
 * @param {() => Promise<unknown>} run
 * @returns {Promise<{name: string, grid: string, ms: number}[]>}
 */
export async function timed(run) {
	recorded = [];
	let dispatches;
	try {
		await run();
	} finally {
		dispatches = recorded;
		recorded = null;
	}
	if (!dispatches.length) return [];
	const size = dispatches.length * 16;
	const resolved = device.createBuffer({ size, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
	const copy = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
	const encoder = device.createCommandEncoder();
	encoder.resolveQuerySet(queries, 0, dispatches.length * 2, resolved, 0);
	encoder.copyBufferToBuffer(resolved, 0, copy, 0, size);
	device.queue.submit([encoder.finish()]);
	await copy.mapAsync(GPUMapMode.READ);
	const stamps = new BigUint64Array(copy.getMappedRange());
	return dispatches.map((dispatch, i) => ({ ...dispatch, ms: Number(stamps[2 * i + 1] - stamps[2 * i]) / 1e6 }));
}
window.timed = timed;
