import { abortable, check } from './abort.js';
import type { Engine } from './engine.js';
import { AssetError, IntegrityError, LanguageError, NetworkError, typed } from './errors.js';
import { type Folder, type Layout, locate, surrounding } from './folder.js';
import type { Call, LoadRequest } from './host.js';
import { type LoadProgress, ProgressMeter } from './progress.js';
import type { LanguageModule, RawAsset, RawLanguageModel, RawModel, TokenizerFiles } from './raw.js';
import { RemoteFolder } from './remote-folder.js';
import type { ReportEntry } from './report.js';
import { FileChanged } from './request.js';
import { openFolder } from './source.js';

/** What loading gives. */
export interface LoadedParts {
	raw: RawModel;
	asset: RawAsset;
	language?: RawLanguageModel;
	entries: ReportEntry[];
}

/** Times that a file may change on the server while it is loaded. */
const CHANGES = 2;

/** File names of a tokenizer folder. */
const TOKENIZER_FILES: [keyof TokenizerFiles, string][] = [
	['tokenizerConfig', 'tokenizer_config.json'],
	['specialTokensMap', 'special_tokens_map.json'],
	['generationConfig', 'generation_config.json'],
	['config', 'config.json'],
	['chatTemplate', 'chat_template.jinja'],
];

/** Loads a model: finds its files, reads them through storage, makes it ready. */
export async function load(engine: Engine, request: LoadRequest, call: Call<LoadProgress>): Promise<LoadedParts> {
	const { signal, emit } = call;
	const meter = new ProgressMeter(emit);
	for (let changes = 0; ; changes++) {
		check(signal);
		const folder = await openFolder(request.source, { storage: request.storage, meter, module: engine.module, signal });
		try {
			const parts = await read(engine, request, folder, meter, signal);
			await folder.settle();
			meter.phase('ready');
			return parts;
		} catch (error) {
			await folder.settle();
			const remote = folder instanceof RemoteFolder ? folder : null;
			if (error instanceof IntegrityError) await remote?.forget();
			if (!(error instanceof FileChanged)) throw typed(error);
			await remote?.forget();
			if (changes === CHANGES) throw new IntegrityError(`${error.message} again and again; load it when it is complete`, { cause: error });
		}
	}
}

async function read(engine: Engine, request: LoadRequest, folder: Folder, meter: ProgressMeter, signal?: AbortSignal): Promise<LoadedParts> {
	const layout = await locate(folder);
	const [hash, metadata] = await Promise.all([folder.small(`${layout.asset}main.hash`), folder.small(`${layout.asset}metadata.json`)]);
	const file = await folder.large(layout.main, hash);
	if (!file) throw notFound(request, folder, layout);
	// The tokenizer is looked for while weights come.
	const language = request.language && tokenizerFiles(engine.language!, folder, layout);
	language?.catch(() => {});
	const freed: { free(): void }[] = [];
	const made = async (): Promise<LoadedParts> => {
		const asset = await engine.module.Asset.read(file, metadata ?? undefined, hash ?? undefined);
		freed.push(asset);
		const raw = await engine.module.Model.specialize(asset, JSON.stringify(request.options), request.device);
		freed.push(raw);
		await file.finished();
		check(signal);
		meter.phase('prepare');
		if (!language) return { raw, asset, entries: folder.entries };
		const found = await language;
		const context = request.language!.contextLength ?? found.maxContext ?? undefined;
		if (found.maxContext && context! > found.maxContext) {
			throw new LanguageError('language.option', `contextLength is ${context}; the model holds ${found.maxContext} tokens`);
		}
		const model = engine.language!.LanguageModel.create(found.name, raw, found.files, found.functions, context);
		return { raw, asset, language: model, entries: folder.entries };
	};
	const making = made();
	try {
		return await abortable(Promise.race([making, file.failed()]), signal);
	} catch (error) {
		// What is under way ends by itself, since its reads fail.
		void making.catch(() => {}).then(() => freed.forEach((raw) => raw.free()));
		throw error;
	}
}

function notFound(request: LoadRequest, folder: Folder, layout: Layout): Error {
	const expected = 'expected a bundle folder (metadata.json of kind "llm"), an .aimodel folder or its main.mlirb';
	if (request.source.kind === 'url') {
		const advice = folder.name.endsWith('.aimodel') || layout.asset ? '' : '; a folder on a server cannot be listed, so give the URL of the .aimodel in it';
		return new NetworkError(`${request.source.url}: there is no ${layout.main}; ${expected}${advice}`, request.source.url, 404);
	}
	return new AssetError('asset.not_found', `${folder.name}: there is no ${layout.main} among the files; ${expected}`);
}

interface Language {
	name: string;
	maxContext: number | null;
	functions: string[];
	files: TokenizerFiles;
}

async function tokenizerFiles(module: LanguageModule, folder: Folder, layout: Layout): Promise<Language> {
	const metadata = layout.metadata ?? await surrounding(folder);
	const bundle = metadata && JSON.parse(module.bundleMetadata(metadata)) as { name: string; maxContext: number | null; functions: string[]; tokenizerName: string | null };
	const places = [...new Set([`${layout.bundle}tokenizer/`, layout.bundle, `${layout.asset}tokenizer/`, layout.asset])];
	for (const place of places) {
		const tokenizer = await folder.small(`${place}tokenizer.json`);
		if (!tokenizer) continue;
		const files: TokenizerFiles = { tokenizer };
		await Promise.all(TOKENIZER_FILES.map(async ([key, name]) => {
			const bytes = await folder.small(place + name);
			if (bytes) files[key] = bytes;
		}));
		const name = bundle?.name ?? folder.name.replace(/\.aimodel$/, '');
		return { name, maxContext: bundle?.maxContext ?? null, functions: bundle?.functions ?? [], files };
	}
	const named = bundle?.tokenizerName ? `; metadata.json names ${bundle.tokenizerName}, put its files there` : '';
	throw new LanguageError('language.no_tokenizer', `${folder.name}: there is no tokenizer.json in ${places.map((p) => p || 'the folder itself').join(', ')}${named}`);
}
