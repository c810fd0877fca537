import { InputError } from './errors.js';
import type { Folder } from './folder.js';
import { LocalFolder, type LocalFiles } from './local-folder.js';
import type { ProgressMeter } from './progress.js';
import type { CoreModule } from './raw.js';
import { RemoteFolder } from './remote-folder.js';

/**
 * Where a model lies.
 *
 * - A URL of a bundle folder (with a `metadata.json` of kind `llm`), of an `.aimodel` folder, or of a `main.mlirb`.
 *   Relative ones are resolved against the page's.
 * - Files of an `<input type="file" webkitdirectory>`, a folder or file handle of `showDirectoryPicker()`,
 *   `showOpenFilePicker()` or a drop, or one `main.mlirb`.
 * - Blobs or bytes by path, such as `{'model.aimodel/main.mlirb': blob}`.
 */
export type ModelSource =
	| string | URL | File | FileList | File[] | FileSystemDirectoryHandle | FileSystemFileHandle
	| Record<string, Blob | Uint8Array>;

/** A source that can be sent to a worker. */
export type PlainSource =
	| { kind: 'url'; url: string; init: RequestInit }
	| { kind: 'files'; name: string; files: LocalFiles; file?: string };

/** Folders inside a folder that is given as a handle. */
const DEPTH = 4;

async function walk(handle: FileSystemDirectoryHandle, prefix: string, depth: number, into: LocalFiles): Promise<void> {
	for await (const [name, entry] of handle.entries()) {
		if (entry.kind === 'file') into[prefix + name] = entry as FileSystemFileHandle;
		else if (depth > 1) await walk(entry as FileSystemDirectoryHandle, `${prefix}${name}/`, depth - 1, into);
	}
}

/** Takes away the folder that all paths begin with. */
function rooted(files: LocalFiles): PlainSource {
	const paths = Object.keys(files);
	const root = paths[0]?.includes('/') ? paths[0].split('/')[0]! : null;
	if (root === null || !paths.every((path) => path.startsWith(`${root}/`))) return { kind: 'files', name: 'files', files };
	const inside = Object.fromEntries(paths.map((path) => [path.slice(root.length + 1), files[path]!]));
	return { kind: 'files', name: root, files: inside };
}

const single = (file: Blob & { name?: string } | FileSystemFileHandle): PlainSource =>
	({ kind: 'files', name: 'file', files: { 'main.mlirb': file }, file: 'main.mlirb' });

/** What of a `RequestInit` can be sent to a worker and makes sense for every request. */
function plainInit(init: RequestInit = {}): RequestInit {
	const { credentials, mode, referrer, referrerPolicy, headers } = init;
	const all = { credentials, mode, referrer, referrerPolicy, headers: headers && [...new Headers(headers).entries()] };
	return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as RequestInit;
}

/** A source in one of two forms. */
export async function plainSource(source: ModelSource, init?: RequestInit): Promise<PlainSource> {
	if (typeof source === 'string' || source instanceof URL) {
		const base = globalThis.document?.baseURI ?? globalThis.location?.href;
		let url: URL;
		try {
			url = new URL(source, base);
		} catch (error) {
			throw new InputError('input', `${JSON.stringify(String(source))} is not a URL`, { cause: error });
		}
		url.hash = '';
		return { kind: 'url', url: url.href, init: plainInit(init) };
	}
	if (source instanceof Blob) return single(source);
	if (typeof FileSystemHandle !== 'undefined' && source instanceof FileSystemHandle) {
		if (source.kind === 'file') return single(source as FileSystemFileHandle);
		const files: LocalFiles = {};
		await walk(source as FileSystemDirectoryHandle, '', DEPTH, files);
		return { kind: 'files', name: source.name, files };
	}
	const list = Array.isArray(source) || (typeof FileList !== 'undefined' && source instanceof FileList);
	if (list) {
		const files = Array.from(source as ArrayLike<File>);
		if (files.length === 1 && !files[0]!.webkitRelativePath) return single(files[0]!);
		return rooted(Object.fromEntries(files.map((file) => [file.webkitRelativePath || file.name, file])));
	}
	if (typeof source !== 'object' || source === null) {
		throw new InputError('input', `a model cannot be loaded from a ${typeof source}; give a URL, files, a handle or blobs by path`);
	}
	const blobs = Object.entries(source as Record<string, Blob | Uint8Array>).map(([path, content]): [string, Blob] => {
		if (content instanceof Blob) return [path, content];
		if (content instanceof Uint8Array) return [path, new Blob([content as Uint8Array<ArrayBuffer>])];
		throw new InputError('input', `"${path}" is neither a Blob nor a Uint8Array`);
	});
	return rooted(Object.fromEntries(blobs));
}

/** Opens a source. */
export async function openFolder(
	source: PlainSource,
	options: { storage: 'prefer' | 'require' | 'none'; meter: ProgressMeter; module: CoreModule; signal?: AbortSignal },
): Promise<Folder> {
	if (source.kind === 'url') return RemoteFolder.open(source.url, { ...options, init: source.init });
	return new LocalFolder(source.name, source.files, options.meter, source.file);
}
