import { CoreAIError } from './errors.js';
import type { CoreModule, LanguageModule } from './raw.js';

/** A wasm module with its memory. */
export interface Engine {
	module: CoreModule;
	/** There when this is the language module. */
	language?: LanguageModule;
	memory: WebAssembly.Memory;
}

/** Which of the two modules. */
export type EngineKind = 'core' | 'language';

/** Starts a module; called once. */
export type Start = () => Promise<Engine>;

const starts: Partial<Record<EngineKind, Start>> = {};
const running: Partial<Record<EngineKind, Promise<Engine>>> = {};

/** Makes a module known; nothing is loaded yet. */
export function register(kind: EngineKind, start: Start): void {
	starts[kind] = start;
}

/** Which module this page or worker uses: the language module, where its entry was imported, serves both entries. */
export function preferred(): EngineKind {
	return starts.language ? 'language' : 'core';
}

/** The wasm module, loaded at the first call. */
export async function engine(kind: EngineKind = preferred()): Promise<Engine> {
	const start = starts[kind];
	if (!start) throw new CoreAIError('internal', `the ${kind} entry of coreai-web is not loaded; import it first`);
	const loading = (running[kind] ??= start());
	try {
		return await loading;
	} catch (error) {
		// The next call tries again: the page may have been offline.
		if (running[kind] === loading) delete running[kind];
		const reason = error instanceof Error ? error.message : String(error);
		const advice = 'serve the files of the package’s wasm folder as they are';
		throw new CoreAIError('wasm', `the wasm module did not load: ${reason}; ${advice}`, { cause: error });
	}
}
