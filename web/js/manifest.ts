import type { Store } from './store.js';

/** What is stored of one file. */
export interface StoredFile {
	/** Bytes of the whole file. */
	size: number;
	/** ETag or Last-Modified; `null` where the server tells neither. */
	validator: string | null;
	/** SHA-256 that the asset's `main.hash` promises, hexadecimal. */
	hash: string | null;
	/** SHA-256 of each chunk that is stored, hexadecimal; `null` for the others. */
	chunks: (string | null)[];
	/** Bytes of chunks of which only the beginning is stored. */
	parts: Record<number, number>;
	/** Whether the server answers range requests. */
	ranges: boolean;
	/** Everything is stored, and its SHA-256 was the promised one, if there is one. */
	complete: boolean;
	/** The server has no such file. */
	missing?: true;
}

/** What is stored of one model. */
export interface Manifest {
	version: 1;
	/** What was loaded. */
	url: string;
	/** Milliseconds since 1970. */
	lastUsed: number;
	/** By path relative to the model. */
	files: Record<string, StoredFile>;
}

/** Bytes of a chunk. Requests, hashes, storage and repair work with whole chunks. */
export const CHUNK_BYTES = 4 << 20;

/** Bytes that a manifest's files take. */
export function storedBytes(manifest: Manifest): number {
	let bytes = 0;
	for (const file of Object.values(manifest.files)) {
		file.chunks.forEach((hash, i) => {
			if (hash) bytes += Math.min(CHUNK_BYTES, file.size - i * CHUNK_BYTES);
		});
		for (const part of Object.values(file.parts)) bytes += part;
	}
	return bytes;
}

/** Whether the model can be loaded without a network. */
export function complete(manifest: Manifest): boolean {
	const files = Object.values(manifest.files);
	return files.some((file) => !file.missing) && files.every((file) => file.complete);
}

const NAME = 'manifest.json';

/** The manifest in a folder of the store; `null` where there is none that can be read. */
export async function readManifest(store: Store, folder: string): Promise<Manifest | null> {
	const bytes = await store.read(folder, NAME);
	if (!bytes) return null;
	try {
		const found = JSON.parse(new TextDecoder().decode(bytes)) as Manifest;
		const whole = (file: StoredFile | null) => file && Number.isSafeInteger(file.size) && Array.isArray(file.chunks) && file.parts && typeof file.parts === 'object';
		return found.version === 1 && found.files && Object.values(found.files).every(whole) ? found : null;
	} catch {
		return null;
	}
}

export function writeManifest(store: Store, folder: string, manifest: Manifest): Promise<void> {
	return store.write(folder, NAME, new TextEncoder().encode(JSON.stringify(manifest)));
}

/** Name of a chunk's piece. */
export const chunkName = (path: string, index: number): string => `${encodeURIComponent(path)}.${index}`;

/** Name of the beginning of a chunk. */
export const partName = (path: string, index: number): string => `${chunkName(path, index)}.part`;
