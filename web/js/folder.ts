import { AssetError } from './errors.js';
import type { ByteReader } from './raw.js';
import type { ReportEntry } from './report.js';

/** A folder that a model is loaded from, by paths relative to it. */
export interface Folder {
	/** Name for messages and progress. */
	readonly name: string;
	/** The file that was given in place of a folder. */
	readonly file?: string;
	/** Whether the folder around can be looked into by paths that begin with `../`. */
	readonly around: boolean;
	/** Choices and fallbacks, for the report. */
	readonly entries: ReportEntry[];
	/** All of a small file; `null` where there is none. */
	small(path: string): Promise<Uint8Array | null>;
	/** Random access to a file of any size; `null` where there is none. */
	large(path: string, hash: Uint8Array | null): Promise<LargeFile | null>;
	/** Names of the `.aimodel` folders in it, where that can be known. */
	assets(): Promise<string[]>;
	/** Ends what is under way, keeps what has arrived, lets others load the same. */
	settle(): Promise<void>;
}

/** A file of any size. */
export interface LargeFile extends ByteReader {
	/** Resolves when all of it is here and its hash is right. */
	finished(): Promise<void>;
	/** Rejects as soon as that cannot be. */
	failed(): Promise<never>;
}

/** Where the parts of a model lie. */
export interface Layout {
	/** Folder of `main.mlirb`, empty or with a slash at its end. */
	asset: string;
	/** Path of `main.mlirb`. */
	main: string;
	/** Folder of the bundle, empty or with a slash at its end. */
	bundle: string;
	/** The bundle's `metadata.json`, where it is one of kind `llm`. */
	metadata: Uint8Array | null;
}

interface BundleMetadata {
	kind?: unknown;
	assets?: { main?: unknown };
}

function bundleMain(bytes: Uint8Array | null, path: string): string | null {
	if (!bytes) return null;
	let found: BundleMetadata | null;
	try {
		found = JSON.parse(new TextDecoder().decode(bytes)) as BundleMetadata | null;
	} catch {
		// An asset has a metadata.json too; the asset's reader says what is wrong with it.
		return null;
	}
	if (found?.kind !== 'llm') return null;
	const main = found.assets?.main;
	if (typeof main !== 'string' || !main || main.split('/').some((part) => !part || part === '.' || part === '..')) {
		throw new AssetError('asset.metadata', `${path}: assets.main is ${JSON.stringify(main)}; expected the path of an .aimodel inside the bundle`);
	}
	return main;
}

/** Finds the asset: named by a bundle's metadata, in the folder itself, or its only `.aimodel`. */
export async function locate(folder: Folder): Promise<Layout> {
	const file = folder.file;
	const metadata = file && !folder.around ? null : await folder.small('metadata.json');
	const main = file ? null : bundleMain(metadata, `${folder.name}/metadata.json`);
	if (main) return { asset: `${main}/`, main: `${main}/main.mlirb`, bundle: '', metadata };
	if (!file) {
		const assets = await folder.assets();
		if (assets.length > 1) {
			throw new AssetError('asset.not_found', `${folder.name} holds ${assets.length} assets (${assets.join(', ')}); give one of them`);
		}
		if (assets[0]) return { asset: `${assets[0]}/`, main: `${assets[0]}/main.mlirb`, bundle: '', metadata: null };
	}
	return { asset: '', main: file ?? 'main.mlirb', bundle: folder.around ? '../' : '', metadata: null };
}

/** The metadata of the bundle around a bare asset, if it is that asset's. */
export async function surrounding(folder: Folder): Promise<Uint8Array | null> {
	if (!folder.around) return null;
	const bytes = await folder.small('../metadata.json');
	return bundleMain(bytes, `${folder.name}/../metadata.json`) === folder.name ? bytes : null;
}
