import type { AdapterInfo, FunctionDescriptor, MemoryUse } from './descriptors.js';
import type { DType, TensorData, Values } from './dtype.js';
import type { LoadProgress } from './progress.js';
import type { Report } from './report.js';
import type { PlainSource } from './source.js';

/** What every request may carry besides its data. */
export interface Call<Event = never> {
	signal?: AbortSignal;
	emit?(event: Event): void;
}

/** Options of the wasm module. */
export interface SpecializeOptions {
	computeUnit?: 'auto' | 'gpu' | 'cpu';
	precision?: 'fast' | 'exact';
	rules?: boolean;
	strict?: boolean;
	allowSoftwareAdapter?: boolean;
}

export interface LoadRequest {
	source: PlainSource;
	storage: 'prefer' | 'require' | 'none';
	options: SpecializeOptions;
	/** In the page only. */
	device?: GPUDevice | (() => Promise<GPUDevice>);
	/** Set for a language model. */
	language?: { contextLength?: number };
}

export interface Loaded {
	model: number;
	functions: FunctionDescriptor[];
	computeUnit: 'gpu' | 'cpu';
	adapter: AdapterInfo | null;
	language?: { name: string; contextLength: number | null };
}

/** Values that cross to the host as they are, or a tensor that lies there. */
export type HostInput = { data: Values; shape: number[] } | { tensor: number };

export interface RunRequest {
	model: number;
	fn: string;
	inputs: Record<string, HostInput>;
	states?: number;
	outputs?: string[];
}

export interface TensorParts {
	dtype: DType;
	shape: number[];
	data: TensorData;
}

export interface DeviceTensorParts {
	tensor: number;
	dtype: DType;
	shape: number[];
	/** `null` across a worker's border. */
	buffer: GPUBuffer | null;
}

/** A message of a conversation. */
export interface ChatMessage {
	/** As the model's template names them. */
	role: 'system' | 'user' | 'assistant' | (string & {});
	content: string;
}

/** How tokens are chosen. Absent options have the runtime's defaults: the most likely token, no penalty. */
export interface SamplingOptions {
	/** Most tokens of the answer. */
	maxTokens?: number;
	/** 0 takes the most likely token; higher is more varied. */
	temperature?: number;
	/** Only the so many most likely tokens. */
	topK?: number;
	/** Only the most likely tokens that together have this probability. */
	topP?: number;
	/** Only tokens with at least this fraction of the most likely one's probability. */
	minP?: number;
	/** Above 1: tokens that have occurred become less likely. */
	repetitionPenalty?: number;
	/** The same seed gives the same answer. */
	seed?: number;
	/** The answer ends before any of these. */
	stop?: string[];
}

/** A piece of an answer. */
export interface ChatPart {
	text: string;
	/** Tokens of the answer so far. */
	tokens: number;
	/** Seconds since the call. */
	seconds: number;
}

/** What an answer took. Rates are `null` where nothing was measured. */
export interface TurnFigures {
	/** Tokens of the whole conversation. */
	promptTokens: number;
	/** Of these, computed by an earlier answer. */
	reusedTokens: number;
	/** Seconds for the others. */
	promptSeconds: number;
	promptTokensPerSecond: number | null;
	/** Tokens of the answer, the closing one included. */
	generatedTokens: number;
	/** Seconds from the first to the last of them. */
	generatedSeconds: number;
	/** Generated tokens per second. */
	tokensPerSecond: number | null;
}

/** A whole answer. */
export interface Turn {
	text: string;
	tokenIds: number[];
	stopReason: 'end_of_turn' | 'stop_string' | 'max_tokens' | 'context_full' | 'cancelled';
	figures: TurnFigures;
}

export interface ChatRequest {
	model: number;
	messages: ChatMessage[];
	options: SamplingOptions;
}

/**
 * What runs models: in this thread, or in a worker behind a port. Requests and results can be cloned; whatever lives in
 * the host is named by a number.
 */
export interface Host {
	load(request: LoadRequest, call: Call<LoadProgress>): Promise<Loaded>;
	report(model: number): Promise<Report>;
	memory(model: number): Promise<MemoryUse>;
	createStates(request: { model: number; fn: string; shapes: Record<string, number[]> }): Promise<{ states: number; shapes: Record<string, number[]> }>;
	run(request: RunRequest, call: Call): Promise<Record<string, TensorParts>>;
	runOnDevice(request: RunRequest, call: Call): Promise<Record<string, DeviceTensorParts>>;
	readTensor(tensor: number): Promise<TensorParts>;
	readState(request: { states: number; name: string }): Promise<TensorParts>;
	writeState(request: { states: number; name: string; input: HostInput }): Promise<void>;
	resizeState(request: { states: number; name: string; shape: number[] }): Promise<number[]>;
	encode(request: { model: number; text: string }): Promise<Uint32Array>;
	decode(request: { model: number; ids: Uint32Array }): Promise<string>;
	chat(request: ChatRequest, call: Call<ChatPart>): Promise<Turn>;
	/** Frees a model, states or a tensor. */
	dispose(id: number): Promise<void>;
}
