import type { ModelSource } from 'coreai-web';
import { PageError } from './problem';

/** `language`: a bundle that can chat; `functions`: an asset. `unknown` is found out by loading. */
export type Kind = 'language' | 'functions' | 'unknown';

/** A model that was chosen. */
export interface Choice {
	source: ModelSource;
	name: string;
	kind: Kind;
}

const kindOfMetadata = (metadata: unknown): Kind => {
	if (typeof metadata !== 'object' || metadata === null) return 'functions';
	return 'kind' in metadata || 'language' in metadata ? 'language' : 'functions';
};

const lastPart = (path: string) => path.replace(/\/+$/, '').split('/').at(-1) ?? path;

/** A path without its escapes, as far as they are right. */
export function readable(path: string): string {
	try {
		return decodeURIComponent(path);
	} catch {
		return path;
	}
}

/** Name of a model for people: its folder without the ending. */
export function nameOf(path: string): string {
	const part = lastPart(path);
	return (part === 'main.mlirb' ? lastPart(path.replace(/\/+$/, '').slice(0, -part.length)) : part).replace(/\.aimodel$/, '');
}

/** A model at an address, relative to this page. Looks at its metadata to see what it is. */
export async function choiceOfUrl(text: string, signal: AbortSignal): Promise<Choice> {
	let url: URL;
	try {
		url = new URL(text.trim(), document.baseURI);
	} catch {
		throw new PageError('source', `“${text}” is not an address`);
	}
	if (!/^https?:$/.test(url.protocol)) throw new PageError('source', `“${url.protocol}” addresses cannot be fetched, only http and https`);
	const name = nameOf(readable(url.pathname)) || url.host;
	if (/\.(mlirb|aimodel)\/?$/.test(url.pathname)) return { source: url.href, name, kind: 'functions' };
	const metadata = new URL(url);
	metadata.pathname = `${url.pathname.replace(/\/$/, '')}/metadata.json`;
	try {
		const response = await fetch(metadata, { signal });
		if (!response.ok) return { source: url.href, name, kind: 'functions' };
		return { source: url.href, name, kind: kindOfMetadata(await response.json()) };
	} catch (error) {
		signal.throwIfAborted();
		// Without a network the stored copy decides; a server that answers with a page has no metadata.
		return { source: url.href, name, kind: error instanceof SyntaxError ? 'functions' : 'unknown' };
	}
}

// Files by their path inside of the folder.
type Files = Record<string, File>;

async function choiceOfFiles(name: string, files: Files): Promise<Choice> {
	const paths = Object.keys(files);
	if (!paths.some((path) => path.endsWith('.mlirb'))) {
		throw new PageError('source', `${name} has no main.mlirb in it, found ${paths.length ? paths.slice(0, 4).join(', ') : 'no files'}`);
	}
	const metadata = files['metadata.json'];
	const kind = metadata ? kindOfMetadata(await metadata.text().then(JSON.parse).catch(() => null)) : 'functions';
	return { source: files, name: nameOf(name), kind };
}

async function choiceOfHandle(handle: FileSystemHandle): Promise<Choice> {
	if (handle.kind === 'file') {
		const file = await (handle as FileSystemFileHandle).getFile();
		return choiceOfFile(file);
	}
	const folder = handle as FileSystemDirectoryHandle;
	const text = await folder.getFileHandle('metadata.json').then((file) => file.getFile()).then((file) => file.text()).catch(() => null);
	let metadata: unknown = null;
	try {
		metadata = JSON.parse(text ?? 'null');
	} catch {
		// The loader then tells what is wrong with it.
	}
	return { source: folder, name: nameOf(folder.name), kind: kindOfMetadata(metadata) };
}

function choiceOfFile(file: File): Choice {
	if (!file.name.endsWith('.mlirb')) {
		throw new PageError('source', `${file.name} is no model: a folder that ends in .aimodel, a bundle folder or a .mlirb file is expected`);
	}
	return { source: file, name: nameOf(file.name.replace(/\.mlirb$/, '')), kind: 'functions' };
}

async function walk(entry: FileSystemEntry, path: string, files: Files): Promise<void> {
	if (entry.isFile) {
		files[path] = await new Promise<File>((done, fail) => (entry as FileSystemFileEntry).file(done, fail));
		return;
	}
	const reader = (entry as FileSystemDirectoryEntry).createReader();
	// A reader hands entries out in portions; an empty one is the end.
	for (;;) {
		const portion = await new Promise<FileSystemEntry[]>((done, fail) => reader.readEntries(done, fail));
		if (!portion.length) return;
		for (const child of portion) await walk(child, path ? `${path}/${child.name}` : child.name, files);
	}
}

/** What was dropped on the page. Call it in the event itself: a drop is empty afterwards. */
export function choiceOfDrop(transfer: DataTransfer): Promise<Choice> {
	const item = [...transfer.items].find(({ kind }) => kind === 'file');
	if (!item) return Promise.reject(new PageError('source', 'what was dropped is neither a file nor a folder'));
	if ('getAsFileSystemHandle' in item) {
		const handle = (item as { getAsFileSystemHandle(): Promise<FileSystemHandle | null> }).getAsFileSystemHandle();
		const file = item.getAsFile();
		return handle.then((found) => {
			if (found) return choiceOfHandle(found);
			if (file) return choiceOfFile(file);
			throw new PageError('source', 'what was dropped cannot be read');
		});
	}
	const entry = (item as DataTransferItem).webkitGetAsEntry();
	if (!entry) return Promise.reject(new PageError('source', 'what was dropped cannot be read'));
	const files: Files = {};
	if (entry.isFile) return walk(entry, entry.name, files).then(() => choiceOfFile(files[entry.name] as File));
	return walk(entry, '', files).then(() => choiceOfFiles(entry.name, files));
}

/** What a folder input holds. */
export function choiceOfFolder(list: FileList): Promise<Choice> {
	const files: Files = {};
	let folder = 'the folder';
	for (const file of list) {
		const [top = '', ...inside] = file.webkitRelativePath.split('/');
		folder = top || folder;
		files[inside.join('/') || file.name] = file;
	}
	return choiceOfFiles(folder, files);
}
