/** The wasm modules as wasm-bindgen exports them, core and language. Errors they throw carry `code`. */

/** Random access to a file; what the wasm module reads weights from. */
export interface ByteReader {
	/** Bytes of the file. */
	readonly length: number;
	/** Exactly the bytes from `start` to `end`, at most 4 MiB. */
	read(start: number, end: number): Promise<Uint8Array>;
}

export interface RawAsset {
	/** JSON of `FunctionDescriptor[]`. */
	functions(): string;
	free(): void;
}

export interface RawModel {
	report(): string;
	computeUnit(): string;
	adapter(): string;
	deviceBytes(): string;
	isLost(): boolean;
	rebuilt(): Promise<RawModel>;
	session(fn: string, stateShapes: string): Promise<RawSession>;
	/** The device that the model is on; `undefined` on the CPU unit. */
	device?(): GPUDevice | undefined;
	free(): void;
}

export interface RawSession {
	setInput(name: string, dtype: string, shape: Uint32Array, bytes: Uint8Array): void;
	setInputBuffer(name: string, shape: Uint32Array, buffer: GPUBuffer): Promise<void>;
	run(outputs: string[], keep: boolean): Promise<void>;
	outputShape(name: string): Uint32Array;
	outputBytes(name: string): Uint8Array;
	takeBuffer(name: string): Promise<GPUBuffer>;
	readState(name: string): Promise<Uint8Array>;
	stateShape(name: string): Uint32Array;
	writeState(name: string, bytes: Uint8Array): void;
	resizeState(name: string, shape: Uint32Array): Promise<void>;
	canceller(): RawCanceller;
	free(): void;
}

export interface RawCanceller {
	cancel(): void;
	free(): void;
}

export interface RawSha256 {
	update(bytes: Uint8Array): void;
	digest(): Uint8Array;
	free(): void;
}

/** Files of a `tokenizer/` folder. */
export interface TokenizerFiles {
	tokenizer: Uint8Array;
	tokenizerConfig?: Uint8Array;
	specialTokensMap?: Uint8Array;
	generationConfig?: Uint8Array;
	config?: Uint8Array;
	chatTemplate?: Uint8Array;
}

export interface RawLanguageModel {
	info(): string;
	model(): RawModel;
	encode(text: string): Uint32Array;
	decode(ids: Uint32Array): string;
	chat(): Promise<RawChat>;
	free(): void;
}

export interface RawChat {
	answer(messages: string, options: string, onText: (piece: string, tokens: number) => void): Promise<string>;
	canceller(): RawCanceller;
	free(): void;
}

/** What both modules export. */
export interface CoreModule {
	Asset: { read(source: ByteReader, metadataJson?: Uint8Array, hash?: Uint8Array): Promise<RawAsset> };
	Model: { specialize(asset: RawAsset, options: string, device: unknown): Promise<RawModel> };
	Sha256: new () => RawSha256;
}

/** What the language module adds. */
export interface LanguageModule extends CoreModule {
	bundleMetadata(json: Uint8Array): string;
	LanguageModel: {
		create(name: string, model: RawModel, files: TokenizerFiles, functions: string[], context?: number): RawLanguageModel;
	};
}
