import { abortable } from './abort.js';
import { ChunkStore } from './chunks.js';
import { AbortedError, NetworkError, StorageQuotaError } from './errors.js';
import type { Folder, LargeFile } from './folder.js';
import { hex, sha256 } from './hash.js';
import { CHUNK_BYTES, chunkName, type Manifest, readManifest, storedBytes, type StoredFile, writeManifest } from './manifest.js';
import type { ProgressMeter } from './progress.js';
import type { CoreModule } from './raw.js';
import { RemoteFile } from './remote-file.js';
import type { ReportEntry } from './report.js';
import { ask, missing, passing, ranged, retrying, sameVersion, unreachable, versionOf } from './request.js';
import { openStore, refused, type Store } from './store.js';

/** Milliseconds between two writes of the manifest while chunks come. */
const SAVE_MS = 1000;
/** Bytes of a small file at most: tokenizers are the largest. */
const SMALL_BYTES = 256 << 20;

/** What a remote folder needs. */
export interface RemoteOptions {
	init: RequestInit;
	storage: 'prefer' | 'require' | 'none';
	meter: ProgressMeter;
	module: CoreModule;
	signal?: AbortSignal;
}

/** Folder in the store of a model. What is asked for in the query, such as a signature, does not count. */
export async function storeFolder(url: string): Promise<string> {
	const { origin, pathname } = new URL(url);
	return hex(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(origin + pathname)))).slice(0, 32);
}

/** A part of a path without its escapes, as far as they are right. */
function readable(part: string): string {
	try {
		return decodeURIComponent(part);
	} catch {
		return part;
	}
}

/** Waits for a lock by name; the result lets go. Without Web Locks there is none. */
async function lock(name: string, signal?: AbortSignal): Promise<() => void> {
	if (!navigator.locks) return () => {};
	return new Promise((resolve, reject) => {
		const held = () => new Promise<void>((release) => resolve(release));
		const waiting = navigator.locks.request(name, { signal }, held);
		waiting.catch((error: unknown) => reject(signal?.aborted ? new AbortedError(signal.reason) : error));
	});
}

/** A folder on a server, with what is stored of it. */
export class RemoteFolder implements Folder {
	readonly name: string;
	readonly file: string | undefined;
	readonly around: boolean;
	readonly entries: ReportEntry[] = [];
	readonly #base: URL;
	readonly #options: RemoteOptions;
	#store: Store | null = null;
	#place = '';
	#manifest: Manifest;
	#release = () => {};
	#saved = 0;
	#saving: Promise<void> = Promise.resolve();
	#offline: NetworkError | null = null;
	#files: RemoteFile[] = [];
	/** Small files that were asked for. */
	readonly #asked = new Map<string, Promise<Uint8Array | null>>();
	/** Something of the model was stored before. */
	#known = false;

	private constructor(url: string, options: RemoteOptions) {
		this.#base = new URL(url);
		this.#options = options;
		const parts = this.#base.pathname.split('/').filter(Boolean).map(readable);
		const last = parts.at(-1) ?? '';
		this.file = last.endsWith('.mlirb') ? last : undefined;
		if (!this.file && !this.#base.pathname.endsWith('/')) this.#base.pathname += '/';
		this.name = (this.file ? parts.at(-2) : last) || this.#base.host;
		this.around = this.file !== undefined || this.name.endsWith('.aimodel');
		this.#manifest = { version: 1, url, lastUsed: Date.now(), files: {} };
	}

	/** Opens what is stored; waits while another tab loads the same model. */
	static async open(url: string, options: RemoteOptions): Promise<RemoteFolder> {
		const folder = new RemoteFolder(url, options);
		if (options.storage === 'none') return folder;
		const { store, reason } = await openStore();
		if (!store) {
			if (options.storage === 'require') throw new StorageQuotaError(`nothing can be stored: ${reason}`, 0);
			folder.#tell('storage_unavailable', `the download is not stored: ${reason}`);
			return folder;
		}
		folder.#store = store;
		folder.#place = await storeFolder(url);
		folder.#release = await lock(`coreai-web:${folder.#place}`, options.signal);
		const known = await readManifest(store, folder.#place);
		if (known) folder.#manifest = { ...known, lastUsed: Date.now() };
		folder.#known = known !== null;
		return folder;
	}

	small(path: string): Promise<Uint8Array | null> {
		let asked = this.#asked.get(path);
		if (!asked) this.#asked.set(path, (asked = this.#small(path)));
		return asked;
	}

	async #small(path: string): Promise<Uint8Array | null> {
		const url = this.#address(path);
		const stored = this.#manifest.files[path];
		if (stored?.complete && this.#offline) return this.#smallStored(path, stored);
		try {
			const { init, signal } = this.#options;
			const get = async (): Promise<{ bytes: Uint8Array | null; validator: string | null }> => {
				const response = await ask(url, { ...init, cache: 'no-cache' }, signal);
				const { size, validator } = versionOf(response);
				if (missing(response)) {
					void response.body?.cancel().catch(() => {});
					return { bytes: null, validator };
				}
				if ((size ?? 0) > SMALL_BYTES) throw new NetworkError(`${url} has ${size} bytes; expected at most ${SMALL_BYTES}`, url, response.status);
				try {
					return { bytes: new Uint8Array(await abortable(response.arrayBuffer(), signal)), validator };
				} catch (error) {
					if (signal?.aborted) throw error;
					throw new NetworkError(`${url}: the connection broke`, url, null, { cause: error });
				}
			};
			const { bytes, validator } = stored?.complete ? await get() : await retrying(get, signal);
			await this.#keepSmall(path, bytes, validator);
			return bytes;
		} catch (error) {
			if (!stored?.complete || !passing(error)) throw error;
			this.#goOffline(error);
			return this.#smallStored(path, stored);
		}
	}

	async large(path: string, promised: Uint8Array | null): Promise<LargeFile | null> {
		const { init, meter, module, signal } = this.#options;
		const url = this.#address(path);
		const hash = promised?.length === 32 ? hex(promised) : null;
		if (!hash) this.#tell('download_unchecked', 'there is no main.hash of 32 bytes beside the model: the download could not be checked');
		let record = this.#manifest.files[path];
		if (record && (record.missing || record.hash !== hash || (record.complete && !hash && !await this.#unchanged(url, record)))) {
			await this.#chunks(path, record).clear();
			delete this.#manifest.files[path];
			record = undefined;
		}
		let first: Response | undefined;
		let ranges = true;
		const begun = record?.chunks.some(Boolean) || Object.keys(record?.parts ?? {}).length > 0;
		if (!record || !(record.complete || begun)) {
			const answer = await retrying(() => ask(url, ranged(init, 0, CHUNK_BYTES), signal), signal);
			if (missing(answer)) {
				void answer.body?.cancel().catch(() => {});
				return null;
			}
			meter.begin(`${this.name}/${path}`, 0, 'download');
			let { size, validator } = versionOf(answer);
			ranges = answer.status === 206;
			first = answer;
			if (answer.status === 416) [size, first, ranges] = [0, undefined, true];
			if (size === null) {
				if (ranges) size = await this.#sizeOf(url);
				else ({ size, first } = await this.#whole(answer));
			}
			record = { size, validator, hash, chunks: new Array<null>(Math.ceil(size / CHUNK_BYTES)).fill(null), parts: {}, complete: false, ranges };
		}
		if (!record.complete) await this.#room(record);
		const chunks = this.#chunks(path, record);
		if (this.#store) this.#manifest.files[path] = record;
		meter.begin(`${this.name}/${path}`, record.size, first ? 'download' : 'verify');
		const file = new RemoteFile({
			url, init, chunks, first, meter, module, signal,
			hash: (bytes) => sha256(bytes, module),
			save: (now) => this.#save(now),
			quota: () => this.#full(chunks),
			healed: () => this.#healed(chunks.damaged),
		});
		this.#files.push(file);
		file.start();
		return file;
	}

	assets(): Promise<string[]> {
		return Promise.resolve([]);
	}

	async settle(): Promise<void> {
		await Promise.all(this.#files.map((file) => file.settle()));
		// Where nothing came, such as of a wrong address, nothing is kept.
		const kept = storedBytes(this.#manifest) > 0 ? this.#save(true) : this.#store?.remove(this.#place);
		await kept?.catch(() => {});
		this.#release();
		this.#release = () => {};
	}

	/** Forgets what is stored of the large files. */
	async forget(): Promise<void> {
		for (const [path, record] of Object.entries(this.#manifest.files)) await this.#chunks(path, record).clear();
		this.#manifest.files = {};
		if (this.#store) await this.#store.remove(this.#place);
	}

	#address(path: string): string {
		const url = new URL(path.split('/').map((part) => (part === '..' ? part : encodeURIComponent(part))).join('/'), this.#base);
		// A signature in the query holds for the whole folder.
		url.search = this.#base.search;
		return url.href;
	}

	#chunks(path: string, record: StoredFile): ChunkStore {
		return new ChunkStore(this.#store, this.#place, path, record, (bytes) => sha256(bytes, this.#options.module));
	}

	#tell(code: string, message: string): void {
		const known = this.entries.find((entry) => entry.code === code);
		if (known) known.message = message;
		else this.entries.push({ code, message, fallback: true });
	}

	#goOffline(error: NetworkError): void {
		this.#offline = error;
		this.#tell('offline', `${error.message}; what is stored was loaded`);
	}

	#healed(count: number): void {
		this.#tell('storage_healed', `${count} stored ${count === 1 ? 'chunk was' : 'chunks were'} damaged or missing and fetched again`);
	}

	/** Whether the server still has the stored version. Offline it counts as unchanged. */
	async #unchanged(url: string, record: StoredFile): Promise<boolean> {
		if (this.#offline) return true;
		const { init, signal } = this.#options;
		try {
			const response = await ask(url, { ...init, method: 'HEAD', cache: 'no-store' }, signal);
			return !missing(response) && sameVersion(record, versionOf(response));
		} catch (error) {
			if (passing(error)) {
				this.#goOffline(error);
				return true;
			}
			// Servers without HEAD.
			if (!(error instanceof NetworkError) || unreachable(error)) throw error;
			const response = await ask(url, ranged(init, 0, 1), signal);
			void response.body?.cancel().catch(() => {});
			return sameVersion(record, versionOf(response));
		}
	}

	/** The length of a file whose server hides Content-Range from other origins. */
	async #sizeOf(url: string): Promise<number> {
		const { init, signal } = this.#options;
		const { size } = versionOf(await ask(url, { ...init, method: 'HEAD', cache: 'no-store' }, signal));
		if (size === null) {
			throw new NetworkError(`${url}: the server tells no length; send Access-Control-Expose-Headers: Content-Range, ETag`, url, 206);
		}
		return size;
	}

	/** All of an answer whose length is not told, outside of this page's heap. */
	async #whole(answer: Response): Promise<{ size: number; first: Response }> {
		const { meter, signal } = this.#options;
		const count = new TransformStream<Uint8Array, Uint8Array>({
			transform(piece, to) {
				meter.network(piece.length);
				to.enqueue(piece);
			},
		});
		let blob: Blob;
		try {
			blob = await abortable(new Response(answer.body?.pipeThrough(count)).blob(), signal);
		} catch (error) {
			if (signal?.aborted) throw error;
			throw new NetworkError(`${answer.url}: the connection broke`, answer.url, null, { cause: error });
		}
		return { size: blob.size, first: new Response(blob) };
	}

	async #smallStored(path: string, stored: StoredFile): Promise<Uint8Array | null> {
		if (stored.missing) return null;
		const bytes = await this.#store?.read(this.#place, chunkName(path, 0));
		if (bytes && await sha256(bytes, this.#options.module) === stored.chunks[0]) return bytes;
		throw this.#offline!;
	}

	async #keepSmall(path: string, bytes: Uint8Array | null, validator: string | null): Promise<void> {
		if (!this.#store) return;
		const hash = bytes && await sha256(bytes, this.#options.module);
		const record: StoredFile = {
			size: bytes?.length ?? 0, validator, hash: null, chunks: hash ? [hash] : [], parts: {}, complete: true, ranges: false,
			...(bytes ? {} : { missing: true as const }),
		};
		const known = this.#manifest.files[path];
		if (bytes && known?.chunks[0] !== hash) {
			try {
				await this.#store.write(this.#place, chunkName(path, 0), bytes);
			} catch (error) {
				if (!refused(error)) throw error;
				await this.#noRoom(bytes.length);
				return;
			}
		}
		this.#manifest.files[path] = record;
	}

	/** Stops storing, or throws, where the quota has no room for the rest of a file. */
	async #room(record: StoredFile): Promise<void> {
		if (!this.#store) return;
		const held = record.chunks.filter(Boolean).length * CHUNK_BYTES;
		await this.#noRoom(record.size - held, true);
	}

	async #noRoom(needed: number, mayFit = false): Promise<void> {
		const { quota = Infinity, usage = 0 } = await navigator.storage.estimate();
		const lacking = needed - Math.max(0, quota - usage);
		if (mayFit && lacking <= 0) return;
		const store = this.#store;
		this.#store = null;
		// Small files alone are of no use.
		if (!this.#known) await store?.remove(this.#place);
		this.#refuse(Math.max(1, Math.ceil(lacking)));
	}

	#refuse(lacking: number): void {
		const message = `the browser's storage lacks ${lacking} bytes`;
		if (this.#options.storage === 'require') throw new StorageQuotaError(`${message}; delete stored models or free disk space`, lacking);
		this.#tell('storage_quota', `${message}: the download is not stored`);
	}

	/** A chunk found no room although the estimate had promised it. */
	#full(chunks: ChunkStore): void {
		const { record } = chunks;
		const lacking = record.chunks.reduce((sum, hash, i) => sum + (hash ? 0 : chunks.length(i)), 0);
		if (!this.entries.some((entry) => entry.code === 'storage_quota')) this.#refuse(lacking);
	}

	/** Writes the manifest; one write at a time. */
	#save(now: boolean): Promise<void> {
		if (!this.#store || (!now && Date.now() - this.#saved < SAVE_MS)) return Promise.resolve();
		this.#saved = Date.now();
		const store = this.#store;
		this.#saving = this.#saving.then(async () => {
			try {
				if (Object.keys(this.#manifest.files).length) await writeManifest(store, this.#place, this.#manifest);
			} catch (error) {
				if (!refused(error)) throw error;
			}
		});
		return this.#saving;
	}
}
