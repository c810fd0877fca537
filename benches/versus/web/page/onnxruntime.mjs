// The side of onnxruntime-web.

const FILES = { webgpu: 'ort.webgpu.min.mjs', jspi: 'ort.jspi.min.mjs', jsep: 'ort.min.mjs' };
const DIST = new URL('/onnxruntime-web/', location.href).href;

/**
 * Loads a model for runs on its WebGPU execution provider.
 *
 * @param {string} model address without `.onnx`
 * @param {{name: string, data: Float32Array, shape: number[]}[]} inputs in the order of the model's
 * @param {{build: string, variant?: string, layout?: string, validation?: string, capture?: boolean}} how
 *   build: one of FILES; variant: another file of the same model; capture: replay of recorded commands
 */
export async function open(model, inputs, { build, variant, layout, validation, capture }) {
	const ort = await import(DIST + FILES[build]);
	ort.env.wasm.wasmPaths = DIST;
	ort.env.wasm.numThreads = 1; // more would need COOP and COEP
	ort.env.logLevel = 'error';
	const provider = { name: 'webgpu' };
	if (layout) provider.preferredLayout = layout;
	if (validation) provider.validationMode = validation;
	const address = `${model}${variant ? `.${variant}` : ''}.onnx`;
	const create = (options) =>
		ort.InferenceSession.create(address, { executionProviders: [provider], graphOptimizationLevel: 'all', ...options });
	const session = await create(capture ? { enableGraphCapture: true, preferredOutputLocation: 'gpu-buffer' } : {});
	const [output] = session.outputNames;
	const device = await ort.env.webgpu.device;
	let resident; // buffers that capture needs to be the same in every run

	/** Inputs and the output as buffers of the device. */
	async function buffers() {
		const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
		const buffer = (bytes) => device.createBuffer({ size: Math.ceil(bytes / 16) * 16, usage });
		const feeds = {};
		inputs.forEach(({ data, shape }, i) => {
			const made = buffer(data.byteLength);
			feeds[session.inputNames[i]] = ort.Tensor.fromGpuBuffer(made, { dataType: 'float32', dims: shape });
		});
		const { shape } = session.outputMetadata[0];
		const elements = shape.reduce((product, extent) => product * extent, 1);
		const result = buffer(elements * 4);
		const fetches = { [output]: ort.Tensor.fromGpuBuffer(result, { dataType: 'float32', dims: shape }) };
		return { feeds, fetches, result, bytes: elements * 4 };
	}

	/** From typed arrays to a buffer of the device. */
	async function runResident() {
		resident ??= await buffers();
		inputs.forEach(({ data }, i) => device.queue.writeBuffer(resident.feeds[session.inputNames[i]].gpuBuffer, 0, data));
		await session.run(resident.feeds, resident.fetches);
	}

	return {
		/** From typed arrays to a typed array. */
		async run() {
			if (capture) {
				await runResident();
				return read(device, resident.result, resident.bytes);
			}
			const feeds = {};
			inputs.forEach(({ data, shape }, i) => (feeds[session.inputNames[i]] = new ort.Tensor('float32', data, shape)));
			return (await session.run(feeds))[output].data;
		},
		/** From typed arrays to a buffer of the device, until the device is done. */
		async runOnDevice() {
			await runResident();
			await device.queue.onSubmittedWorkDone();
		},
		async close() {
			await session.release();
			for (const tensor of Object.values(resident?.feeds ?? {})) tensor.gpuBuffer.destroy();
			resident?.result.destroy();
		},
	};
}

async function read(device, buffer, bytes) {
	const copy = device.createBuffer({ size: bytes, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
	const encoder = device.createCommandEncoder();
	encoder.copyBufferToBuffer(buffer, 0, copy, 0, bytes);
	device.queue.submit([encoder.finish()]);
	await copy.mapAsync(GPUMapMode.READ);
	const data = new Float32Array(copy.getMappedRange().slice(0));
	copy.destroy();
	return data;
}
