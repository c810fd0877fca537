import { AIModel, type LoadOptions, type LoadProgress } from 'coreai-web';
import type { LanguageModel } from 'coreai-web/language';
import { codeOf } from './problem';
import type { Choice } from './source';

/** What a person can set before loading. */
export type LoadSettings = Required<Pick<LoadOptions, 'computeUnit' | 'precision' | 'strict' | 'rules' | 'allowSoftwareAdapter'>> & { worker: boolean };

/** A model that is ready. */
export interface Loaded {
	name: string;
	model: AIModel;
	/** Where the model can chat. */
	language: LanguageModel | null;
	settings: LoadSettings;
	/** From the start of loading until it was ready. */
	seconds: number;
	/** What came over the network or from a file, and what from the browser's storage, in bytes. */
	loadedBytes: number;
	storedBytes: number;
	dispose(): void;
}

// The language part of the package is larger and only fetched where it is needed.
async function loadLanguage(choice: Choice, options: LoadOptions): Promise<LanguageModel | null> {
	const { LanguageModel } = await import('coreai-web/language');
	try {
		return await LanguageModel.load(choice.source, options);
	} catch (error) {
		if (choice.kind === 'unknown' && /^(language|asset)\b/.test(codeOf(error))) return null;
		throw error;
	}
}

/** Loads a model as what it is. Rejects with the package's errors, and with its AbortedError after `signal`. */
export async function load(
	choice: Choice,
	settings: LoadSettings,
	onProgress: (progress: LoadProgress) => void,
	signal: AbortSignal,
): Promise<Loaded> {
	const start = performance.now();
	let last: LoadProgress | null = null;
	const options: LoadOptions = {
		...settings,
		signal,
		onProgress: (progress) => {
			last = progress;
			onProgress(progress);
		},
	};
	const language = choice.kind === 'functions' ? null : await loadLanguage(choice, options);
	const model = language?.model ?? (await AIModel.load(choice.source, options));
	const progress = last as LoadProgress | null;
	return {
		name: choice.name,
		model,
		language,
		settings,
		seconds: (performance.now() - start) / 1000,
		loadedBytes: progress?.loaded ?? 0,
		storedBytes: progress?.fromStorage ?? 0,
		dispose: () => (language ?? model).dispose(),
	};
}
