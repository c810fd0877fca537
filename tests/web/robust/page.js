// In the page: what the tests of robustness share.
import { AIModel } from 'coreai-web';

/** Loads an asset of tests/assets on the GPU unit, unless options say otherwise. */
export function load(asset, options = {}) {
	const url = new URL(`/tests/assets/${asset}/`, location.href);
	return AIModel.load(url, { computeUnit: 'gpu', precision: 'exact', allowSoftwareAdapter: true, storage: 'none', ...options });
}

/** Inputs of a function, the same in every run; open extents are 3. */
export function inputs(fn) {
	return Object.fromEntries(fn.descriptor.inputs.map(({ name, dtype, shape: declared }) => {
		const shape = declared.map((extent) => extent ?? 3);
		const count = shape.reduce((a, b) => a * b, 1);
		const whole = !/float|complex/.test(dtype);
		const data = Array.from({ length: count }, (_, i) => (whole ? i % 2 : Math.round(64 * Math.sin(1 + i)) / 64));
		return [name, { data, shape }];
	}));
}

/** A device of the page. Counts the bytes of its living buffers in `live.bytes`. */
export async function countedDevice(live = {}) {
	const adapter = await navigator.gpu.requestAdapter();
	const { maxBufferSize, maxStorageBufferBindingSize, maxStorageBuffersPerShaderStage } = adapter.limits;
	const device = await adapter.requestDevice({ requiredLimits: { maxBufferSize, maxStorageBufferBindingSize, maxStorageBuffersPerShaderStage } });
	live.bytes = 0;
	live.made = 0;
	const create = device.createBuffer.bind(device);
	device.createBuffer = (descriptor) => {
		const buffer = create(descriptor);
		const destroy = buffer.destroy.bind(buffer);
		let alive = true;
		live.bytes += buffer.size;
		live.made++;
		buffer.destroy = () => {
			if (alive) live.bytes -= buffer.size;
			alive = false;
			destroy();
		};
		return buffer;
	};
	return device;
}

/** The error of a call as data; fails where there is none. */
export async function failure(job) {
	try {
		await job();
	} catch (error) {
		const { name, code, message, needed, limit, url, status } = error;
		return { name, code, message, needed, limit, url, status, typed: error instanceof Error };
	}
	return { name: 'nothing', code: 'nothing', message: 'the call gave no error' };
}

/** Values of tensors as plain arrays, to be handed to node. */
export const plain = (tensors) => Object.fromEntries(Object.entries(tensors).map(([name, { dtype, shape, data }]) => [name, { dtype, shape: [...shape], data: Array.from(data, Number) }]));
