import type { Connection } from './connection.js';
import type { AdapterInfo, FunctionDescriptor, MemoryUse } from './descriptors.js';
import { DISPOSE } from './dispose.js';
import { InputError } from './errors.js';
import type { Host, Loaded, RunRequest } from './host.js';
import { type LoadOptions, loadWith } from './options.js';
import type { Report } from './report.js';
import type { ModelSource } from './source.js';
import { States } from './states.js';
import { DeviceTensor, hostInput, type Tensor, tensor, type TensorInput } from './tensor.js';

/** What a run may be told besides its inputs. */
export interface RunOptions {
	/** Needed by functions with states. */
	states?: States;
	/** Results that are wanted; all by default. */
	outputs?: string[];
	/** Ends the run with an `AbortedError`. */
	signal?: AbortSignal;
}

/** A function of a model. Calls with the same states, and calls without, run one after the other. */
export class InferenceFunction {
	/** Inputs, outputs and states. */
	readonly descriptor: FunctionDescriptor;
	readonly #host: Host;
	readonly #model: number;

	/** @internal */
	constructor(host: Host, model: number, descriptor: FunctionDescriptor) {
		this.#host = host;
		this.#model = model;
		this.descriptor = descriptor;
	}

	/**
	 * Fresh states, zeros.
	 * @param shapes of states with open extents, by name
	 */
	async createStates(shapes: Record<string, number[]> = {}): Promise<States> {
		const made = await this.#host.createStates({ model: this.#model, fn: this.descriptor.name, shapes });
		return new States(this.#host, made.states, made.shapes);
	}

	/**
	 * Runs the function.
	 *
	 * @example
	 * const {y} = await fn.run({x: {data: new Float32Array(6), shape: [2, 3]}});
	 * console.log(y.shape, y.data);
	 */
	async run(inputs: Record<string, TensorInput>, options: RunOptions = {}): Promise<Record<string, Tensor>> {
		const results = await this.#host.run(this.#request(inputs, options), { signal: options.signal });
		return Object.fromEntries(Object.entries(results).map(([name, parts]) => [name, tensor(parts)]));
	}

	/** Runs the function and leaves the results on the GPU. Not on the CPU unit. */
	async runOnDevice(inputs: Record<string, TensorInput>, options: RunOptions = {}): Promise<Record<string, DeviceTensor>> {
		const results = await this.#host.runOnDevice(this.#request(inputs, options), { signal: options.signal });
		return Object.fromEntries(Object.entries(results).map(([name, { tensor, dtype, shape, buffer }]) => [name, new DeviceTensor(this.#host, tensor, dtype, shape, buffer)]));
	}

	#request(inputs: Record<string, TensorInput>, { states, outputs }: RunOptions): RunRequest {
		const given = Object.entries(inputs).map(([name, input]) => [name, hostInput(this.#host, name, input)]);
		return { model: this.#model, fn: this.descriptor.name, inputs: Object.fromEntries(given) as RunRequest['inputs'], states: states?.id, outputs };
	}
}

/**
 * A Core AI model, ready to run.
 *
 * @example
 * using model = await AIModel.load('/models/resnet.aimodel', {onProgress: ({loaded, total}) => show(loaded / total)});
 * const {logits} = await model.function('main').run({image: {data, shape: [1, 3, 224, 224]}});
 */
export class AIModel {
	/** Signatures of the functions. */
	readonly functions: FunctionDescriptor[];
	/** Where it runs. */
	readonly computeUnit: 'gpu' | 'cpu';
	/** The GPU; `null` on the CPU unit. */
	readonly adapter: AdapterInfo | null;
	readonly #connection: Connection;
	readonly #id: number;

	/** @internal */
	constructor(connection: Connection, loaded: Loaded) {
		this.#connection = connection;
		this.#id = loaded.model;
		this.functions = loaded.functions;
		this.computeUnit = loaded.computeUnit;
		this.adapter = loaded.adapter;
	}

	/**
	 * Loads a model. Resolves when every byte of a download is here and checked against the asset's hash. Local files are
	 * read as they are.
	 * @throws NetworkError, IntegrityError, AssetError, UnsupportedError, OutOfMemoryError, StorageQuotaError, AbortedError …
	 */
	static async load(source: ModelSource, options: LoadOptions = {}): Promise<AIModel> {
		const { loaded, connection } = await loadWith(source, options);
		return new AIModel(connection, loaded);
	}

	/** A function by name, most often `main`. */
	function(name: string): InferenceFunction {
		const found = this.functions.find((fn) => fn.name === name);
		if (found) return new InferenceFunction(this.#connection.host, this.#id, found);
		throw new InputError('no_function', `there is no function "${name}"; the model has ${this.functions.map((fn) => `"${fn.name}"`).join(', ')}`);
	}

	/** How the model runs: every choice and every fallback so far. */
	report(): Promise<Report> {
		return this.#connection.host.report(this.#id);
	}

	/** Memory in use. */
	memory(): Promise<MemoryUse> {
		return this.#connection.host.memory(this.#id);
	}

	/** Frees the model's GPU memory, its states and device tensors, and ends its own worker. */
	dispose(): void {
		const { host, end } = this.#connection;
		void host.dispose(this.#id).catch(() => {}).finally(end);
	}

	[DISPOSE](): void {
		this.dispose();
	}
}
