import { check } from './abort.js';
import type { FunctionDescriptor, Port } from './descriptors.js';
import { decode, encode, isWord } from './dtype.js';
import type { Engine } from './engine.js';
import { AbortedError, CoreAIError, DeviceLostError, InputError, typed, UnsupportedError } from './errors.js';
import type { Call, HostInput, RunRequest, TensorParts } from './host.js';
import type { LoadedParts } from './loader.js';
import { Queue } from './queue.js';
import type { RawCanceller, RawChat, RawLanguageModel, RawModel, RawSession } from './raw.js';
import type { ReportEntry } from './report.js';

/** A session with the queue of its calls. */
export interface HostedSession {
	fn: FunctionDescriptor;
	raw: RawSession;
	queue: Queue;
	model: HostedModel;
}

/** A tensor on the device. */
export interface HostedTensor {
	buffer: GPUBuffer;
	port: Port;
	shape: number[];
	model: HostedModel;
	/** Where the buffer lies; a model that was rebuilt has another. */
	device: GPUDevice;
}

/** Runs a job that `signal` can end through a canceller. */
export async function cancellable<T>(canceller: RawCanceller, signal: AbortSignal | undefined, job: () => Promise<T>): Promise<T> {
	const cancel = () => canceller.cancel();
	try {
		check(signal);
		signal?.addEventListener('abort', cancel);
		return await job();
	} catch (error) {
		if (signal?.aborted) throw new AbortedError(signal.reason);
		throw typed(error);
	} finally {
		signal?.removeEventListener('abort', cancel);
		canceller.free();
	}
}

/** A model in this thread: its sessions, and its life over losses of the device. */
export class HostedModel {
	readonly functions: FunctionDescriptor[];
	readonly language: RawLanguageModel | undefined;
	readonly entries: ReportEntry[];
	readonly #sessions = new Map<string, { queue: Queue; raw?: RawSession }>();
	#raw: RawModel;
	#recovering: Promise<void> | null = null;
	#chat: { queue: Queue; raw?: RawChat } = { queue: new Queue() };
	/** Sessions with states of their own are made one after the other; disposing waits for them. */
	readonly #making = { queue: new Queue() };
	#disposed = false;

	constructor(readonly engine: Engine, parts: LoadedParts) {
		this.#raw = parts.raw;
		this.language = parts.language;
		this.entries = parts.entries;
		this.functions = JSON.parse(parts.asset.functions()) as FunctionDescriptor[];
		parts.asset.free();
	}

	/** The model on its present device. */
	get raw(): RawModel {
		if (this.#disposed) throw new CoreAIError('disposed', 'the model was disposed; load it again');
		return this.#raw;
	}

	descriptor(name: string): FunctionDescriptor {
		const found = this.functions.find((fn) => fn.name === name);
		if (found) return found;
		throw new InputError('no_function', `there is no function "${name}"; the model has ${this.functions.map((fn) => `"${fn.name}"`).join(', ')}`);
	}

	/** A session with states of its own. */
	states(name: string, shapes: Record<string, number[]>): Promise<HostedSession> {
		const fn = this.descriptor(name);
		return this.#making.queue.run(async () => {
			await this.#live();
			const raw = await this.raw.session(name, JSON.stringify(shapes));
			return { fn, raw, queue: new Queue(), model: this };
		});
	}

	/**
	 * Runs a function and takes its results.
	 * @param take called with the session after the run
	 */
	async run<T>(request: RunRequest, call: Call, inputs: Record<string, Given>, states: HostedSession | undefined, keep: boolean, take: Take<T>): Promise<Record<string, T>> {
		const fn = this.descriptor(request.fn);
		const outputs = this.#outputs(fn, request.outputs);
		const wide = keep && outputs.find((port) => !isWord(port.dtype));
		if (wide) {
			throw new UnsupportedError('unsupported', `output "${wide.name}" is ${wide.dtype}, which has no form on the GPU; use run, or name other outputs`);
		}
		const missing = fn.inputs.filter((port) => !Object.hasOwn(inputs, port.name));
		if (missing.length) {
			throw new InputError('input', `function "${fn.name}" needs ${missing.map((port) => `"${port.name}"`).join(', ')}, which was not given`);
		}
		if (states) return states.queue.run(() => this.#execute(fn, states.raw, call, inputs, outputs, keep, take), call.signal);
		if (fn.states.length) {
			throw new InputError('input', `function "${fn.name}" has states (${fn.states.map((port) => port.name).join(', ')}); run it with {states: await fn.createStates()}`);
		}
		let entry = this.#sessions.get(fn.name);
		if (!entry) this.#sessions.set(fn.name, (entry = { queue: new Queue() }));
		const mine = entry;
		return mine.queue.run(async () => {
			for (let tries = 0; ; tries++) {
				await this.#live();
				try {
					mine.raw ??= await this.raw.session(fn.name, '{}');
					return await this.#execute(fn, mine.raw, call, inputs, outputs, keep, take);
				} catch (thrown) {
					const error = typed(thrown);
					// Nothing of it lay on the lost device unless a tensor did.
					const again = error instanceof DeviceLostError && tries === 0 && Object.values(inputs).every((input) => 'data' in input);
					if (!again) throw error;
				}
			}
		}, call.signal);
	}

	/** One turn of the conversation. */
	chat<T>(call: Call, job: (chat: RawChat) => Promise<T>): Promise<T> {
		return this.#chat.queue.run(async () => {
			void this.raw;
			try {
				this.#chat.raw ??= await this.language!.chat();
				const chat = this.#chat.raw;
				return await cancellable(chat.canceller(), call.signal, () => job(chat));
			} catch (error) {
				throw typed(error);
			}
		}, call.signal);
	}

	/** Frees the model once what runs has ended. */
	dispose(): void {
		if (this.#disposed) return;
		const free = (part: { queue: Queue; raw?: { free(): void } }) => part.queue.run(async () => {
			part.raw?.free();
			part.raw = undefined;
		});
		const ended = [...[...this.#sessions.values()].map(free), free(this.#chat)];
		this.#disposed = true;
		void Promise.all(ended).then(() => {
			this.language?.free();
			this.#raw.free();
		});
	}

	#outputs(fn: FunctionDescriptor, wanted?: string[]): Port[] {
		if (!wanted) return fn.outputs;
		return wanted.map((name) => {
			const found = fn.outputs.find((port) => port.name === name);
			if (found) return found;
			throw new InputError('input', `function "${fn.name}" has no output "${name}"; it has ${fn.outputs.map((port) => port.name).join(', ')}`);
		});
	}

	async #execute<T>(
		fn: FunctionDescriptor, raw: RawSession, { signal }: Call, inputs: Record<string, Given>, outputs: Port[], keep: boolean, take: Take<T>,
	): Promise<Record<string, T>> {
		return cancellable(raw.canceller(), signal, async () => {
			for (const [name, input] of Object.entries(inputs)) await bind(fn, raw, name, input);
			check(signal);
			await raw.run(outputs.map((port) => port.name), keep);
			const results: Record<string, T> = {};
			for (const port of outputs) results[port.name] = await take(raw, port);
			return results;
		});
	}

	/** Waits until the model is on a device that lives. */
	async #live(): Promise<void> {
		if (!this.raw.isLost()) return;
		this.#recovering ??= this.#recover().finally(() => (this.#recovering = null));
		await this.#recovering;
	}

	async #recover(): Promise<void> {
		const lost = this.#raw;
		try {
			// A conversation may have rebuilt it already.
			let next = this.language?.model();
			if (next?.isLost()) {
				next.free();
				next = undefined;
			}
			this.#raw = next ?? await lost.rebuilt();
		} catch (error) {
			throw typed(error);
		}
		// Some may be in a run that is about to fail, so they are left to the garbage collector.
		for (const entry of this.#sessions.values()) entry.raw = undefined;
	}
}

/** An input with its values or its buffer. */
export type Given = Exclude<HostInput, { tensor: number }> | HostedTensor;

/** Takes one result out of a session. */
export type Take<T> = (raw: RawSession, port: Port) => T | Promise<T>;

async function bind(fn: FunctionDescriptor, raw: RawSession, name: string, input: Given): Promise<void> {
	const port = fn.inputs.find((port) => port.name === name);
	if (!port) throw new InputError('input', `function "${fn.name}" has no input "${name}"; it has ${fn.inputs.map((port) => port.name).join(', ')}`);
	const shape = extents(name, input.shape);
	if ('buffer' in input) await raw.setInputBuffer(name, shape, input.buffer);
	else raw.setInput(name, port.dtype, shape, encode(name, port.dtype, input.data, shape));
}

/** A shape as the wasm module takes it. */
export function extents(name: string, shape: readonly number[]): Uint32Array {
	if (!Array.isArray(shape) || !shape.every((n) => Number.isInteger(n) && n >= 0 && n < 2 ** 32)) {
		throw new InputError('input', `"${name}": shape is ${JSON.stringify(shape)}; expected an array of extents such as [1, 3, 224, 224]`);
	}
	return Uint32Array.from(shape);
}

/** An output as values. */
export function taken(raw: RawSession, port: Port): TensorParts {
	return { dtype: port.dtype, shape: Array.from(raw.outputShape(port.name)), data: decode(port.dtype, raw.outputBytes(port.name)) };
}
