import { DISPOSE } from './dispose.js';
import { type DType, elements, type TensorData, type Values } from './dtype.js';
import { InputError } from './errors.js';
import type { Host, HostInput, TensorParts } from './host.js';

/** What functions take: values with their shape, or a result of another call. */
export type TensorInput = { data: Values; shape: readonly number[] } | Tensor | DeviceTensor;

/**
 * Values with their shape, in row-major order. float16 and bfloat16 come as a `Float32Array` (exact), bool as a
 * `Uint8Array` of 0 and 1, 64-bit integers as `BigInt64Array` or `BigUint64Array`, complex64 as a `Float32Array` of
 * real and imaginary parts in turn.
 */
export class Tensor {
	readonly dtype: DType;
	readonly shape: readonly number[];
	readonly data: TensorData;

	constructor(dtype: DType, shape: readonly number[], data: TensorData) {
		const expected = elements(shape) * (dtype === 'complex64' ? 2 : 1);
		if (dtype in { float16: 0, float32: 0, bfloat16: 0 } && data.length !== expected) {
			throw new InputError('input', `a tensor of shape [${shape.join(', ')}] has ${expected} elements; data has ${data.length}`);
		}
		this.dtype = dtype;
		this.shape = shape;
		this.data = data;
	}
}

/**
 * A result that stays on the GPU: an input of further calls of models in the same thread, without a copy to the host.
 * Holds GPU memory until `dispose()`.
 *
 * @example
 * const {features} = await encoder.runOnDevice({image});
 * const {logits} = await head.run({features});
 * features.dispose();
 */
export class DeviceTensor {
	readonly dtype: DType;
	/** Extents. */
	readonly shape: readonly number[];
	/**
	 * One 32-bit word per element: floats as float32, integers and bools as int32 or uint32. Usage `STORAGE`, `COPY_SRC`
	 * and `COPY_DST`. `null` where the model runs in a worker.
	 */
	readonly buffer: GPUBuffer | null;
	readonly #host: Host;
	readonly #id: number;

	/** @internal */
	constructor(host: Host, id: number, dtype: DType, shape: readonly number[], buffer: GPUBuffer | null) {
		this.#host = host;
		this.#id = id;
		this.dtype = dtype;
		this.shape = shape;
		this.buffer = buffer;
	}

	/** Copies the values to the host. */
	async read(): Promise<Tensor> {
		return tensor(await this.#host.readTensor(this.#id));
	}

	/** Frees the buffer. */
	dispose(): void {
		void this.#host.dispose(this.#id).catch(() => {});
	}

	[DISPOSE](): void {
		this.dispose();
	}

	/** @internal The tensor's number in a host; throws where it lies in another. */
	idIn(host: Host, name: string): number {
		if (host === this.#host) return this.#id;
		throw new InputError('input', `input "${name}" lies in another thread's device; read() it first`);
	}
}

/** @internal */
export const tensor = ({ dtype, shape, data }: TensorParts): Tensor => new Tensor(dtype, shape, data);

/** @internal An input as the host takes it. */
export function hostInput(host: Host, name: string, input: TensorInput): HostInput {
	if (input instanceof DeviceTensor) return { tensor: input.idIn(host, name) };
	if (!input?.data || !Array.isArray(input.shape)) {
		throw new InputError('input', `input "${name}": expected {data, shape}, a Tensor or a DeviceTensor`);
	}
	return { data: input.data, shape: [...input.shape] };
}
