import { DISPOSE } from './dispose.js';
import { InputError } from './errors.js';
import type { Host } from './host.js';
import { hostInput, type Tensor, tensor, type TensorInput } from './tensor.js';

/**
 * The states of one function, such as caches: they go from run to run. They begin as zeros. If the device is lost they
 * are too, and runs with them end in a `DeviceLostError`.
 *
 * @example
 * using states = await fn.createStates({cache: [1, 64, 8]});
 * await fn.run({x}, {states});
 * const {data} = await states.read('cache');
 */
export class States {
	readonly #host: Host;
	readonly #id: number;
	readonly #shapes: Record<string, number[]>;

	/** @internal */
	constructor(host: Host, id: number, shapes: Record<string, number[]>) {
		this.#host = host;
		this.#id = id;
		this.#shapes = shapes;
	}

	/** Extents of a state. */
	shape(name: string): number[] {
		const found = this.#shapes[name];
		if (!found) throw new InputError('input', `there is no state "${name}"; there are ${Object.keys(this.#shapes).join(', ')}`);
		return [...found];
	}

	/** Copies a state's values to the host. */
	async read(name: string): Promise<Tensor> {
		return tensor(await this.#host.readState({ states: this.#id, name }));
	}

	/** Replaces a state's values; the shape must be the state's. */
	async write(name: string, input: TensorInput): Promise<void> {
		await this.#host.writeState({ states: this.#id, name, input: hostInput(this.#host, name, input) });
	}

	/** Changes the extents that the port leaves open. What both shapes have is kept, the rest is zero. */
	async resize(name: string, shape: readonly number[]): Promise<void> {
		this.#shapes[name] = await this.#host.resizeState({ states: this.#id, name, shape: [...shape] });
	}

	/** Frees the memory once what runs has ended. */
	dispose(): void {
		void this.#host.dispose(this.#id).catch(() => {});
	}

	[DISPOSE](): void {
		this.dispose();
	}

	/** @internal */
	get id(): number {
		return this.#id;
	}
}
