import { decodeWords, encode } from './dtype.js';
import { engine, type EngineKind } from './engine.js';
import { CoreAIError, DeviceLostError, InputError, typed, UnsupportedError } from './errors.js';
import type {
	Call, ChatPart, ChatRequest, DeviceTensorParts, Host, HostInput, Loaded, LoadRequest, RunRequest, TensorParts, Turn, TurnFigures,
} from './host.js';
import type { AdapterInfo, MemoryUse } from './descriptors.js';
import { decode } from './dtype.js';
import { extents, type Given, HostedModel, type HostedSession, type HostedTensor, taken } from './hosted-model.js';
import { load } from './loader.js';
import type { LoadProgress } from './progress.js';
import type { Report } from './report.js';

// Values of GPUBufferUsage and GPUMapMode, which not every type library has.
const MAP_READ = 1;
const COPY_DST = 8;
const MAP_MODE_READ = 1;

/** The answer as the wasm module gives it. */
interface RawTurn {
	text: string;
	token_ids: number[];
	stop_reason: Turn['stopReason'];
	figures: Record<string, number | null>;
}

function turn(found: RawTurn): Turn {
	const figures: Record<string, number | null> = {};
	for (const [key, value] of Object.entries(found.figures)) {
		figures[key.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())] = value;
	}
	figures.tokensPerSecond = figures.generatedTokensPerSecond ?? null;
	delete figures.generatedTokensPerSecond;
	return { text: found.text, tokenIds: found.token_ids, stopReason: found.stop_reason, figures: figures as unknown as TurnFigures };
}

/** Runs models in this thread. */
export class LocalHost implements Host {
	readonly local = true;
	readonly #things = new Map<number, HostedModel | HostedSession | HostedTensor>();
	#next = 1;

	/** @param kind which wasm module; absent: the one whose entry was imported */
	constructor(private readonly kind?: EngineKind) {}

	async load(request: LoadRequest, call: Call<LoadProgress>): Promise<Loaded> {
		const used = await engine(request.language ? 'language' : this.kind);
		const model = new HostedModel(used, await load(used, request, call));
		const info = model.language && JSON.parse(model.language.info()) as { name: string; contextLength: number | null };
		return {
			model: this.#keep(model),
			functions: model.functions,
			computeUnit: model.raw.computeUnit() as 'gpu' | 'cpu',
			adapter: JSON.parse(model.raw.adapter()) as AdapterInfo | null,
			language: info && { name: info.name, contextLength: info.contextLength },
		};
	}

	async report(id: number): Promise<Report> {
		const model = this.#model(id);
		const report = JSON.parse(model.raw.report()) as Report;
		return { ...report, entries: [...report.entries, ...model.entries] };
	}

	async memory(id: number): Promise<MemoryUse> {
		const model = this.#model(id);
		const device = JSON.parse(model.raw.deviceBytes()) as MemoryUse['device'];
		return { wasmBytes: model.engine.memory.buffer.byteLength, device };
	}

	async createStates({ model, fn, shapes }: { model: number; fn: string; shapes: Record<string, number[]> }): Promise<{ states: number; shapes: Record<string, number[]> }> {
		const states = await this.#model(model).states(fn, shapes).catch(rethrow);
		const found = states.fn.states.map((port) => [port.name, Array.from(states.raw.stateShape(port.name))]);
		return { states: this.#keep(states), shapes: Object.fromEntries(found) as Record<string, number[]> };
	}

	run(request: RunRequest, call: Call): Promise<Record<string, TensorParts>> {
		return this.#run(request, call, false, taken);
	}

	async runOnDevice(request: RunRequest, call: Call): Promise<Record<string, DeviceTensorParts>> {
		const model = this.#model(request.model);
		if (model.raw.computeUnit() === 'cpu') {
			throw new UnsupportedError('unsupported', 'the model runs on the CPU unit, so results cannot stay on a GPU; use run');
		}
		return this.#run(request, call, true, async (raw, port) => {
			const shape = Array.from(raw.outputShape(port.name));
			const buffer = await raw.takeBuffer(port.name);
			return { tensor: this.#keep({ buffer, port, shape, model, device: model.raw.device()! }), dtype: port.dtype, shape, buffer };
		});
	}

	async readTensor(id: number): Promise<TensorParts> {
		const { buffer, port, shape, model, device } = this.#tensor(id);
		if (device !== model.raw.device() || model.raw.isLost()) {
			throw new DeviceLostError('device_lost', 'the device of this tensor was lost; run the function again');
		}
		const staging = device.createBuffer({ size: buffer.size, usage: MAP_READ | COPY_DST });
		try {
			const encoder = device.createCommandEncoder();
			encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
			device.queue.submit([encoder.finish()]);
			await staging.mapAsync(MAP_MODE_READ).catch((error: unknown) => {
				throw new DeviceLostError('device_lost', 'the device was lost while a tensor was read; run the function again', { cause: error });
			});
			const length = shape.reduce((product, extent) => product * extent, 1);
			return { dtype: port.dtype, shape, data: decodeWords(port.dtype, staging.getMappedRange().slice(0, length * 4)) };
		} finally {
			staging.destroy();
		}
	}

	readState({ states, name }: { states: number; name: string }): Promise<TensorParts> {
		return this.#withState(states, name, async ({ raw }, dtype) => {
			const data = decode(dtype, await raw.readState(name));
			return { dtype, shape: Array.from(raw.stateShape(name)), data };
		});
	}

	writeState({ states, name, input }: { states: number; name: string; input: HostInput }): Promise<void> {
		return this.#withState(states, name, async ({ raw }, dtype) => {
			if ('buffer' in input) throw new InputError('input', `state "${name}": give values; a buffer can only be an input`);
			const { data, shape } = 'tensor' in input ? await this.readTensor(input.tensor) : input;
			const held = raw.stateShape(name);
			if (held.join() !== shape.join()) {
				throw new InputError('input', `state "${name}" has shape [${held.join(', ')}], the tensor [${shape.join(', ')}]; resize the state first`);
			}
			raw.writeState(name, encode(name, dtype, data, held));
		});
	}

	resizeState({ states, name, shape }: { states: number; name: string; shape: number[] }): Promise<number[]> {
		return this.#withState(states, name, async ({ raw }) => {
			await raw.resizeState(name, extents(name, shape));
			return Array.from(raw.stateShape(name));
		});
	}

	async encode({ model, text }: { model: number; text: string }): Promise<Uint32Array> {
		return catching(() => this.#language(model).language!.encode(text));
	}

	async decode({ model, ids }: { model: number; ids: Uint32Array }): Promise<string> {
		return catching(() => this.#language(model).language!.decode(ids));
	}

	async chat({ model, messages, options }: ChatRequest, call: Call<ChatPart>): Promise<Turn> {
		const start = performance.now();
		return this.#language(model).chat(call, async (chat) => {
			const tell = (text: string, tokens: number) => call.emit?.({ text, tokens, seconds: (performance.now() - start) / 1e3 });
			return turn(JSON.parse(await chat.answer(JSON.stringify(messages), JSON.stringify(options), tell)) as RawTurn);
		});
	}

	async dispose(id: number): Promise<void> {
		const thing = this.#things.get(id);
		this.#things.delete(id);
		if (thing instanceof HostedModel) {
			thing.dispose();
			for (const [other, { model }] of [...this.#things].filter(([, t]) => !(t instanceof HostedModel)) as [number, HostedSession | HostedTensor][]) {
				if (model === thing) await this.dispose(other);
			}
		} else if (thing && 'buffer' in thing) {
			thing.buffer.destroy();
		} else if (thing) {
			await thing.queue.run(async () => thing.raw.free());
		}
	}

	#keep(thing: HostedModel | HostedSession | HostedTensor): number {
		this.#things.set(this.#next, thing);
		return this.#next++;
	}

	async #run<T>(request: RunRequest, call: Call, keep: boolean, take: Parameters<HostedModel['run']>[5]): Promise<Record<string, T>> {
		const model = this.#model(request.model);
		const inputs: Record<string, Given> = {};
		for (const [name, input] of Object.entries(request.inputs)) {
			inputs[name] = 'tensor' in input ? this.#tensor(input.tensor) : input;
			if (!('tensor' in input)) continue;
			const { device, model: origin } = this.#tensor(input.tensor);
			if (device !== origin.raw.device() || origin.raw.isLost()) {
				throw new DeviceLostError('device_lost', `input "${name}": the device of this tensor was lost; compute it again`);
			}
			if (device !== model.raw.device()) throw new InputError('input', `input "${name}" lies on another device than the model; read() it first`);
		}
		let states: HostedSession | undefined;
		if (request.states !== undefined) {
			states = this.#states(request.states);
			if (states.model !== model || states.fn.name !== request.fn) {
				throw new InputError('input', `these states are of function "${states.fn.name}"; make some of "${request.fn}" with createStates`);
			}
		}
		return model.run(request, call, inputs, states, keep, take) as Promise<Record<string, T>>;
	}

	#withState<T>(id: number, name: string, job: (session: HostedSession, dtype: string) => Promise<T>): Promise<T> {
		const states = this.#states(id);
		const port = states.fn.states.find((port) => port.name === name);
		if (!port) {
			throw new InputError('input', `function "${states.fn.name}" has no state "${name}"; it has ${states.fn.states.map((p) => p.name).join(', ')}`);
		}
		return states.queue.run(() => job(states, port.dtype)).catch(rethrow);
	}

	#model(id: number): HostedModel {
		const thing = this.#things.get(id);
		if (thing instanceof HostedModel) return thing;
		throw new CoreAIError('disposed', 'the model was disposed; load it again');
	}

	#language(id: number): HostedModel {
		const model = this.#model(id);
		void model.raw;
		return model;
	}

	#states(id: number): HostedSession {
		const thing = this.#things.get(id);
		if (thing && 'queue' in thing) return thing;
		throw new CoreAIError('disposed', 'the states were disposed; make new ones with createStates');
	}

	#tensor(id: number): HostedTensor {
		const thing = this.#things.get(id);
		if (thing && 'buffer' in thing) return thing;
		throw new CoreAIError('disposed', 'the tensor was disposed, or is of another thread');
	}
}

function rethrow(error: unknown): never {
	throw typed(error);
}

function catching<T>(job: () => T): T {
	try {
		return job();
	} catch (error) {
		return rethrow(error);
	}
}
