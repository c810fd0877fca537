/**
 * Any error of this package. `code` is stable and meant for programs; `message` names what was found, what was
 * expected and what to do.
 *
 * @example
 * try {
 * 	await AIModel.load(url);
 * } catch (error) {
 * 	if (error instanceof NetworkError && error.status === 404) showMissing(error.url);
 * 	else throw error;
 * }
 */
export class CoreAIError extends Error {
	/** Stable name of what went wrong, such as `"asset.truncated"` or `"device_lost"`. */
	readonly code: string;

	constructor(code: string, message: string, options?: ErrorOptions) {
		super(message, options);
		this.name = new.target.name;
		this.code = code;
	}
}

/** The asset is damaged, of an unknown version, or not to be found among the given files. Codes `asset.…`. */
export class AssetError extends CoreAIError {}

/** An argument does not fit the function: name, element type, shape or value. Codes `input`, `no_function`, `index_out_of_range`. */
export class InputError extends CoreAIError {}

/** The asset or the call needs what this runtime, browser or mode does not have. Codes `unsupported`, `program`, `strict`. */
export class UnsupportedError extends CoreAIError {}

/** `computeUnit: 'gpu'` was asked for, and there is no WebGPU adapter. Code `no_adapter`. */
export class NoAdapterError extends CoreAIError {}

/** The GPU device was lost and what was asked for lay on it: a state, a tensor, or the caller's own device. Code `device_lost`. */
export class DeviceLostError extends CoreAIError {}

/** Memory ran out. Code `out_of_memory`. */
export class OutOfMemoryError extends CoreAIError {
	/** Bytes that were asked for; 0 where unknown. */
	readonly needed: number;
	/** Bytes that can be had; 0 where unknown. */
	readonly limit: number;

	constructor(message: string, needed: number, limit: number, options?: ErrorOptions) {
		super('out_of_memory', message, options);
		this.needed = needed;
		this.limit = limit;
	}
}

/** A download failed after a few retries. Code `network`. */
export class NetworkError extends CoreAIError {
	/** What was asked for. */
	readonly url: string;
	/** HTTP status; `null` where there was no answer (offline, DNS, CORS, broken connection). */
	readonly status: number | null;

	constructor(message: string, url: string, status: number | null, options?: ErrorOptions) {
		super('network', message, options);
		this.url = url;
		this.status = status;
	}
}

/** What was downloaded is not what the asset's `main.hash` promises. Code `integrity`. */
export class IntegrityError extends CoreAIError {
	constructor(message: string, options?: ErrorOptions) {
		super('integrity', message, options);
	}
}

/** The browser's storage cannot hold the model and `storage: 'require'` was given. Code `storage_quota`. */
export class StorageQuotaError extends CoreAIError {
	/** Bytes that are missing. */
	readonly missing: number;

	constructor(message: string, missing: number, options?: ErrorOptions) {
		super('storage_quota', message, options);
		this.missing = missing;
	}
}

/** The call was aborted. `name` is `"AbortError"`, `cause` the signal's reason. Code `cancelled`. */
export class AbortedError extends CoreAIError {
	constructor(reason?: unknown) {
		super('cancelled', 'aborted by the caller', { cause: reason });
		this.name = 'AbortError';
	}
}

/** The bundle, tokenizer, template or conversation of a language model is at fault. Codes `language.…`. */
export class LanguageError extends CoreAIError {}

/** An error as data, for another thread. */
export interface WireError {
	code: string;
	message: string;
	numbers: { needed?: number; limit?: number; missing?: number };
	url?: string;
	status?: number | null;
}

/** The error of `code` with the fields that its class has. */
function make({ code, message, numbers, url, status }: WireError, options?: ErrorOptions): CoreAIError {
	if (code.startsWith('asset.')) return new AssetError(code, message, options);
	if (code === 'language' || code.startsWith('language.')) return new LanguageError(code, message, options);
	switch (code) {
		case 'input':
		case 'no_function':
		case 'index_out_of_range':
			return new InputError(code, message, options);
		case 'unsupported':
		case 'program':
		case 'strict':
			return new UnsupportedError(code, message, options);
		case 'no_adapter':
			return new NoAdapterError(code, message, options);
		case 'device_lost':
			return new DeviceLostError(code, message, options);
		case 'out_of_memory':
			return new OutOfMemoryError(message, numbers.needed ?? 0, numbers.limit ?? 0, options);
		case 'network':
			return new NetworkError(message, url ?? '', status ?? null, options);
		case 'integrity':
			return new IntegrityError(message, options);
		case 'storage_quota':
			return new StorageQuotaError(message, numbers.missing ?? 0, options);
		case 'cancelled':
			return new AbortedError(options?.cause);
		default:
			return new CoreAIError(code, message, options);
	}
}

/** Fields of an error that cross to another thread. */
export function wire(error: unknown): WireError {
	const from = typed(error);
	const { needed, limit, missing, url, status } = from as CoreAIError & Partial<OutOfMemoryError & StorageQuotaError & NetworkError>;
	return { code: from.code, message: from.message, numbers: { needed, limit, missing }, url, status };
}

/** The error that `wire` was given, on the other side; `reason` is the abort signal's on this side. */
export function unwire(error: WireError, reason?: unknown): CoreAIError {
	return make(error, reason === undefined ? undefined : { cause: reason });
}

/** Any error as one of this package: those of the wasm module, which carry a `code`, get their class. */
export function typed(error: unknown): CoreAIError {
	if (error instanceof CoreAIError) return error;
	const { code, message, needed, limit } = (error ?? {}) as Record<string, unknown>;
	// A trap ends the wasm module; memory that cannot grow is one.
	if (error instanceof WebAssembly.RuntimeError) {
		return new CoreAIError('internal', `the wasm module stopped: ${error.message}`, { cause: error });
	}
	const text = typeof message === 'string' ? message : String(error);
	const numbers = { needed: Number(needed ?? 0), limit: Number(limit ?? 0) };
	return make({ code: typeof code === 'string' ? code : 'internal', message: text, numbers }, { cause: error });
}
