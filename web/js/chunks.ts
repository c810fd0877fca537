import { CHUNK_BYTES, chunkName, partName, type StoredFile } from './manifest.js';
import { refused, type Store } from './store.js';

/** The chunks of one file that lie in storage. Writing ends where space does; what lies there can still be read. */
export class ChunkStore {
	/** A write found no space. */
	full = false;
	/** Chunks kept in memory where nothing can be stored and the server cannot be asked again. */
	#spool = new Map<number, Blob>();
	#parts = new Set<Promise<void>>();
	/** Chunks that were found damaged or missing. */
	damaged = 0;

	constructor(
		private readonly store: Store | null,
		private readonly folder: string,
		private readonly path: string,
		readonly record: StoredFile,
		private readonly hash: (bytes: Uint8Array) => Promise<string>,
	) {}

	/** Whether chunks are stored, now. */
	get writable(): boolean {
		return this.store !== null && !this.full;
	}

	length(index: number): number {
		return Math.min(CHUNK_BYTES, this.record.size - index * CHUNK_BYTES);
	}

	/** A stored chunk whose hash is right, or null. */
	async read(index: number): Promise<Uint8Array | null> {
		const spooled = this.#spool.get(index);
		if (spooled) return new Uint8Array(await spooled.arrayBuffer());
		const expected = this.record.chunks[index];
		if (!this.store || !expected) return null;
		const bytes = await this.store.read(this.folder, chunkName(this.path, index));
		if (bytes && bytes.length === this.length(index) && await this.hash(bytes) === expected) return bytes;
		this.damaged++;
		return null;
	}

	/** Keeps a chunk. `spool`: in memory, where it cannot be stored. */
	async write(index: number, bytes: Uint8Array, hash: string, spool: boolean): Promise<void> {
		if (this.writable) {
			try {
				await this.store!.write(this.folder, chunkName(this.path, index), bytes);
				this.record.chunks[index] = hash;
				await this.dropPart(index);
				return;
			} catch (error) {
				if (!refused(error)) throw error;
				this.full = true;
			}
		}
		// A Blob lies outside of this page's heap, on disk where it is large.
		if (spool) this.#spool.set(index, new Blob([bytes as Uint8Array<ArrayBuffer>]));
	}

	/** The beginning of a chunk that an earlier, interrupted download left. */
	async readPart(index: number): Promise<Uint8Array | null> {
		const length = this.record.parts[index];
		if (!this.store || !length || length >= this.length(index)) return null;
		const bytes = await this.store.read(this.folder, partName(this.path, index));
		return bytes?.length === length ? bytes : null;
	}

	/** Keeps the beginning of a chunk; failing to is no harm. */
	async writePart(index: number, bytes: Uint8Array): Promise<void> {
		if (!this.writable || !bytes.length) return;
		const writing = this.store!.write(this.folder, partName(this.path, index), bytes).then(
			() => void (this.record.parts[index] = bytes.length),
			() => {},
		);
		this.#parts.add(writing);
		await writing;
	}

	private async dropPart(index: number): Promise<void> {
		if (!(index in this.record.parts)) return;
		delete this.record.parts[index];
		await this.store!.remove(this.folder, partName(this.path, index));
	}

	/** Forgets everything that is stored of the file. */
	async clear(): Promise<void> {
		await Promise.all(this.#parts);
		const { record, store } = this;
		for (let i = 0; i < record.chunks.length; i++) {
			if (record.chunks[i]) await store?.remove(this.folder, chunkName(this.path, i));
			if (record.parts[i]) await store?.remove(this.folder, partName(this.path, i));
		}
		Object.assign(record, { chunks: [], parts: {}, complete: false });
		this.#spool.clear();
	}
}
