// The side of coreai-web.

const MODULE = new URL('/web/dist/index.js', location.href).href;

/**
 * Loads a model for runs on the GPU unit.
 *
 * @param {string} model address without `.aimodel`
 * @param {{data: Float32Array, shape: number[]}[]} inputs in the order of the function's
 * @param {object} options of AIModel.load, besides those given here
 */
export async function open(model, inputs, options) {
	const { AIModel } = await import(MODULE);
	const device = await request();
	const loaded = await AIModel.load(`${model}.aimodel`, {
		computeUnit: 'gpu', allowSoftwareAdapter: true, storage: 'none', device, ...options,
	});
	const main = loaded.function(loaded.functions[0].name);
	const [output] = main.descriptor.outputs.map(({ name }) => name);
	const feeds = Object.fromEntries(main.descriptor.inputs.map(({ name }, i) => [name, inputs[i]]));
	return {
		async run() {
			return (await main.run(feeds))[output].data;
		},
		async runOnDevice() {
			const { [output]: result } = await main.runOnDevice(feeds);
			await device.queue.onSubmittedWorkDone();
			result.dispose();
		},
		async close() {
			loaded.dispose();
			device.destroy();
		},
	};
}

/** A device with all that the adapter has, as the package asks for. */
async function request() {
	const adapter = await navigator.gpu.requestAdapter();
	const requiredLimits = {};
	for (const name in adapter.limits) requiredLimits[name] = adapter.limits[name];
	return adapter.requestDevice({ requiredFeatures: [...adapter.features], requiredLimits });
}
