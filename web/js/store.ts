import { typed } from './errors.js';

/**
 * Named pieces of bytes in folders, in the origin private file system. Measured beside the Cache API
 * (`benches/versus/web/storage.mjs`), it is the faster place. A write replaces a piece as a whole.
 */
export interface Store {
	read(folder: string, name: string): Promise<Uint8Array | null>;
	write(folder: string, name: string, bytes: Uint8Array): Promise<void>;
	/** Removes a piece, or the whole folder. */
	remove(folder: string, name?: string): Promise<void>;
	folders(): Promise<string[]>;
}

const ROOT = 'coreai-web';

const absent = (error: unknown): boolean => error instanceof DOMException && error.name === 'NotFoundError';

/** Whether the browser refused a write. Chromium tells want of space as `QuotaExceededError` or as a broken pipe. */
export const refused = (error: unknown): boolean => error instanceof DOMException;

async function directory(name: string, create: boolean): Promise<FileSystemDirectoryHandle | null> {
	try {
		const root = await (await navigator.storage.getDirectory()).getDirectoryHandle(ROOT, { create });
		return name ? await root.getDirectoryHandle(name, { create }) : root;
	} catch (error) {
		if (absent(error)) return null;
		throw error;
	}
}

const opfs: Store = {
	async read(folder, name) {
		try {
			const handle = await directory(folder, false);
			const file = await (await handle?.getFileHandle(name))?.getFile();
			return file ? new Uint8Array(await file.arrayBuffer()) : null;
		} catch {
			// Gone or unreadable: either way it is not there.
			return null;
		}
	},

	async write(folder, name, bytes) {
		const handle = await (await directory(folder, true))!.getFileHandle(name, { create: true });
		const stream = await handle.createWritable();
		try {
			await stream.write(bytes as Uint8Array<ArrayBuffer>);
			await stream.close();
		} catch (error) {
			await stream.abort().catch(() => {});
			throw error;
		}
	},

	async remove(folder, name) {
		const parent = await directory(name === undefined ? '' : folder, false);
		try {
			await parent?.removeEntry(name ?? folder, { recursive: true });
		} catch (error) {
			if (!absent(error)) throw error;
		}
	},

	async folders() {
		const names: string[] = [];
		const root = await directory('', false);
		if (root) for await (const name of root.keys()) names.push(name);
		return names;
	},
};

/** The store, or the reason for which this browser or page has none. */
export async function openStore(): Promise<{ store?: Store; reason?: string }> {
	if (!globalThis.isSecureContext) return { reason: 'the page is not served over https' };
	if (!navigator.storage?.getDirectory || !('createWritable' in FileSystemFileHandle.prototype)) {
		return { reason: 'this browser cannot write to the origin private file system' };
	}
	try {
		await directory('', true);
		return { store: opfs };
	} catch (error) {
		return { reason: typed(error).message };
	}
}
