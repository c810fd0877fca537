import { CoreAIError } from './errors.js';
import { complete, readManifest, storedBytes } from './manifest.js';
import { storeFolder } from './remote-folder.js';
import { openStore, type Store } from './store.js';

/** A model that is stored, or partly. */
export interface StoredModel {
	/** What was loaded. */
	url: string;
	/** Bytes that it takes. */
	bytes: number;
	/** Can be loaded without a network. */
	complete: boolean;
	/** When it was loaded last. */
	lastUsed: Date;
}

/** Room in the browser's storage. */
export interface StorageEstimate {
	/** Bytes that this origin uses. */
	usage: number;
	/** Bytes that it may use. */
	quota: number;
}

async function opened(): Promise<Store | null> {
	return (await openStore()).store ?? null;
}

/**
 * Models that are stored in this browser.
 *
 * @example
 * for (const {url, bytes, complete} of await storage.list()) if (!complete) await storage.delete(url);
 */
export const storage = {
	/** Stored models, those used last first. */
	async list(): Promise<StoredModel[]> {
		const store = await opened();
		const found: StoredModel[] = [];
		for (const folder of await store?.folders() ?? []) {
			const manifest = await readManifest(store!, folder);
			if (!manifest) continue;
			const { url, lastUsed } = manifest;
			found.push({ url, bytes: storedBytes(manifest), complete: complete(manifest), lastUsed: new Date(lastUsed) });
		}
		return found.sort((a, b) => b.lastUsed.getTime() - a.lastUsed.getTime());
	},

	/** Deletes what is stored of a model; nothing happens where nothing is. Models in use go on and fetch what they need. */
	async delete(url: string | URL): Promise<void> {
		const store = await opened();
		const resolved = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
		resolved.hash = '';
		await store?.remove(await storeFolder(resolved.href));
	},

	/** Bytes used and allowed. */
	async estimate(): Promise<StorageEstimate> {
		if (!navigator.storage) throw new CoreAIError('unsupported', 'this page has no storage; serve it over https');
		const { usage = 0, quota = 0 } = await navigator.storage.estimate();
		return { usage, quota };
	},
};
