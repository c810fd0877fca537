import { breathe, check } from './abort.js';
import type { ChunkStore } from './chunks.js';
import { IntegrityError, NetworkError } from './errors.js';
import { hex } from './hash.js';
import { CHUNK_BYTES, type StoredFile } from './manifest.js';
import type { ProgressMeter } from './progress.js';
import type { ByteReader, CoreModule, RawSha256 } from './raw.js';
import { type Arriving, ask, FileChanged, fill, pieces, retrying, sameVersion, versionOf } from './request.js';

/** Chunks on their way at once. */
const AT_ONCE = 4;
/** Chunks kept in memory after they came; without storage a download is never further ahead of its reader. */
const RECENT = 8;
/** Bytes that go into the hash at once, so that a page stays responsive. */
const HASHED_BYTES = 1 << 20;

/** What a remote file needs. */
export interface RemoteParts {
	url: string;
	init: RequestInit;
	chunks: ChunkStore;
	/** The answer to the first request, whose body is used. */
	first?: Response;
	meter: ProgressMeter;
	module: CoreModule;
	hash(bytes: Uint8Array): Promise<string>;
	/** Writes the manifest, now and then or at once. */
	save(now: boolean): Promise<void>;
	/** Called when a chunk could not be stored for want of space; may throw. */
	quota(): void;
	/** A stored chunk was damaged or missing and fetched again. */
	healed(): void;
	/** A broken connection's requests, and those of readers, end with it. */
	signal?: AbortSignal;
}

/** Random access to a file on a server, through storage. */
export class RemoteFile implements ByteReader {
	readonly length: number;
	readonly #parts: RemoteParts;
	readonly #record: StoredFile;
	readonly #pending = new Map<number, Promise<Uint8Array>>();
	readonly #recent = new Map<number, Uint8Array>();
	/** Hashes of chunks that are not stored: what is fetched again must be the same. */
	readonly #hashes: (string | undefined)[] = [];
	/** Chunks that a server without ranges has yet to send. */
	readonly #awaited = new Map<number, { promise: Promise<void>; resolve: () => void; reject: (error: unknown) => void }>();
	readonly #counted = new Set<number>();
	/** Ends what is under way when loading is over. */
	readonly #end = new AbortController();
	#signal: AbortSignal | undefined;
	#first: Response | undefined;
	#download: Promise<void> | undefined;
	/** Last chunk that was read, for the download to stay near without storage. */
	#reader = 0;
	#moved = () => {};
	#settled = false;
	/** Something of this download was stored by an earlier one. */
	#resumed = false;

	constructor(parts: RemoteParts) {
		this.#parts = parts;
		this.#record = parts.chunks.record;
		this.length = this.#record.size;
		this.#signal = parts.signal ? AbortSignal.any([parts.signal, this.#end.signal]) : this.#end.signal;
		this.#first = parts.first;
	}

	get #count(): number {
		return Math.ceil(this.length / CHUNK_BYTES);
	}

	async read(start: number, end: number): Promise<Uint8Array> {
		const first = Math.floor(start / CHUNK_BYTES);
		const last = Math.floor((end - 1) / CHUNK_BYTES);
		const out = new Uint8Array(end - start);
		for (let index = first; index <= last; index++) {
			if (index > this.#reader) {
				this.#reader = index;
				this.#moved();
			}
			const bytes = await this.#chunk(index).catch((error: unknown) => {
				// While loading, the loader begins anew.
				if (this.#settled && error instanceof FileChanged) throw new IntegrityError(`${error.message}; load the model again`);
				throw error;
			});
			const at = index * CHUNK_BYTES;
			out.set(bytes.subarray(Math.max(0, start - at), end - at), Math.max(0, at - start));
		}
		return out;
	}

	/** Begins to download what is not complete. */
	start(): void {
		if (this.#record.complete) return;
		this.#resumed = this.#record.chunks.some(Boolean) || Object.keys(this.#record.parts).length > 0;
		this.#download = this.#run();
		this.#download.catch(() => {});
	}

	/** Resolves when all of the file is here and its hash is right. Nothing more is read for now. */
	async finished(): Promise<void> {
		this.#reader = Infinity;
		this.#moved();
		await this.#download;
	}

	/** Rejects as soon as the download fails. */
	failed(): Promise<never> {
		return new Promise((_, reject) => void this.#download?.catch(reject));
	}

	/** Ends what is under way, and waits until parts that arrived are stored. Later reads are not aborted by the signal. */
	async settle(): Promise<void> {
		this.#end.abort();
		this.#reader = Infinity;
		this.#moved();
		await Promise.allSettled([...this.#pending.values(), this.#download]);
		this.#signal = undefined;
		this.#settled = true;
		this.#recent.clear();
	}

	#chunk(index: number): Promise<Uint8Array> {
		const recent = this.#recent.get(index);
		if (recent) return Promise.resolve(recent);
		const pending = this.#pending.get(index);
		if (pending) return pending;
		const coming = this.#obtain(index).then((bytes) => {
			this.#remember(index, bytes);
			return bytes;
		});
		this.#pending.set(index, coming);
		const done = () => {
			this.#pending.delete(index);
		};
		coming.then(done, done);
		return coming;
	}

	#remember(index: number, bytes: Uint8Array): void {
		this.#recent.set(index, bytes);
		for (const old of this.#recent.keys()) {
			if (this.#recent.size <= RECENT) break;
			this.#recent.delete(old);
		}
	}

	async #obtain(index: number): Promise<Uint8Array> {
		const { chunks } = this.#parts;
		check(this.#signal);
		const known = this.#record.chunks[index] ?? this.#hashes[index];
		const damaged = chunks.damaged;
		const stored = await chunks.read(index);
		if (stored) {
			this.#countStored(index, stored.length);
			return stored;
		}
		const healing = chunks.damaged > damaged;
		const awaited = this.#awaited.get(index);
		if (!this.#record.ranges && awaited && !healing) {
			await awaited.promise;
			return this.#arrived(index);
		}
		const bytes = await this.#fetch(index);
		await this.#keep(index, bytes, known ?? undefined);
		if (healing) this.#parts.healed();
		return bytes;
	}

	/** A chunk that has just come in order. */
	async #arrived(index: number): Promise<Uint8Array> {
		return this.#recent.get(index) ?? await this.#parts.chunks.read(index) ?? this.#fetch(index);
	}

	#countStored(index: number, bytes: number): void {
		if (this.#counted.has(index)) return;
		this.#counted.add(index);
		this.#parts.meter.stored(bytes);
	}

	/** One chunk over the network, going on where the connection broke. */
	async #fetch(index: number): Promise<Uint8Array> {
		const { url, init, chunks, meter } = this.#parts;
		const chunk: Arriving = { start: index * CHUNK_BYTES, bytes: new Uint8Array(chunks.length(index)), filled: 0 };
		const part = await chunks.readPart(index);
		if (part) {
			chunk.bytes.set(part);
			chunk.filled = part.length;
			meter.stored(part.length);
		}
		let first = index === 0 && !part ? this.#first : undefined;
		if (first) this.#first = undefined;
		this.#counted.add(index);
		try {
			await retrying((arrived) => {
				const answer = first;
				first = undefined;
				const count = (bytes: number) => {
					arrived(bytes);
					meter.network(bytes);
				};
				return fill(url, init, this.#record, chunk, count, this.#signal, answer);
			}, this.#signal);
		} catch (error) {
			await chunks.writePart(index, chunk.bytes.subarray(0, chunk.filled));
			throw error;
		}
		return chunk.bytes;
	}

	/** Hashes and stores a chunk that came over the network. */
	async #keep(index: number, bytes: Uint8Array, known: string | undefined): Promise<void> {
		const { chunks, hash, save, quota, url } = this.#parts;
		const found = await hash(bytes);
		if (known && found !== known) throw new FileChanged(`${url} changed on the server`);
		this.#hashes[index] = found;
		await chunks.write(index, bytes, found, !this.#record.ranges);
		if (chunks.full) quota();
		await save(false);
	}

	async #run(): Promise<void> {
		const hash = new this.#parts.module.Sha256();
		try {
			if (this.#record.ranges) await this.#inParallel(hash);
			else await this.#inOrder(hash);
			const found = hex(hash.digest());
			const expected = this.#record.hash;
			if (expected && found !== expected) {
				// What an earlier download stored may be to blame.
				if (this.#resumed) throw new FileChanged(`${this.#parts.url}: what was stored and what came do not fit together`);
				throw new IntegrityError(`${this.#parts.url}: SHA-256 is ${found}; main.hash beside it says ${expected}. The file or its main.hash on the server is wrong`);
			}
		} finally {
			hash.free();
			const error = new FileChanged(`${this.#parts.url}: the download ended`);
			for (const { reject } of this.#awaited.values()) reject(error);
			this.#awaited.clear();
		}
		if (!this.#parts.chunks.full) this.#record.complete = true;
		await this.#parts.save(true);
	}

	async #add(hash: RawSha256, bytes: Uint8Array): Promise<void> {
		for (let at = 0; at < bytes.length; at += HASHED_BYTES) {
			hash.update(bytes.subarray(at, at + HASHED_BYTES));
			await breathe();
		}
	}

	/** Several requests at once; hashed in order. */
	async #inParallel(hash: RawSha256): Promise<void> {
		const ahead = new Map<number, Promise<Uint8Array>>();
		for (let index = 0; index < this.#count; index++) {
			for (let next = index; next < Math.min(index + AT_ONCE, this.#count); next++) {
				if (ahead.has(next) || (next > index && this.#tooFar(next))) continue;
				const chunk = this.#chunk(next);
				chunk.catch(() => {});
				ahead.set(next, chunk);
			}
			while (this.#tooFar(index)) await new Promise<void>((moved) => (this.#moved = moved));
			await this.#add(hash, await (ahead.get(index) ?? this.#chunk(index)));
			ahead.delete(index);
		}
	}

	/** Without storage, chunks that the reader has not reached would be lost and fetched twice. */
	#tooFar(index: number): boolean {
		return !this.#parts.chunks.writable && index >= this.#reader + RECENT - AT_ONCE;
	}

	/** One answer with all of the file, from a server without ranges. */
	async #inOrder(hash: RawSha256): Promise<void> {
		const { chunks, meter, init, url } = this.#parts;
		for (let index = 0; index < this.#count; index++) this.#await(index);
		let next = 0;
		let answer = this.#first;
		this.#first = undefined;
		await retrying(async (arrived) => {
			const response = answer ?? await ask(url, { ...init, cache: 'no-store' }, this.#signal);
			answer = undefined;
			if (!sameVersion(this.#record, versionOf(response))) throw new FileChanged(`${url} changed on the server`);
			let at = 0;
			let chunk = new Uint8Array(next < this.#count ? chunks.length(next) : 0);
			for await (let piece of pieces(url, response, this.#signal)) {
				while (piece.length) {
					const start = next * CHUNK_BYTES;
					if (next >= this.#count) throw new FileChanged(`${url} is longer than it was`);
					if (at < start) {
						const skipped = Math.min(start - at, piece.length);
						at += skipped;
						piece = piece.subarray(skipped);
						continue;
					}
					const taken = piece.subarray(0, chunk.length - (at - start));
					chunk.set(taken, at - start);
					at += taken.length;
					piece = piece.subarray(taken.length);
					arrived(taken.length);
					meter.network(taken.length);
					if (at - start < chunk.length) continue;
					await this.#keep(next, chunk, this.#record.chunks[next] ?? undefined);
					this.#remember(next, chunk);
					this.#awaited.get(next)?.resolve();
					await this.#add(hash, chunk);
					next++;
					chunk = new Uint8Array(next < this.#count ? chunks.length(next) : 0);
				}
			}
			if (next < this.#count) throw new NetworkError(`${url}: the answer ended ${this.length - at} bytes early`, url, null);
		}, this.#signal);
	}

	#await(index: number): void {
		let resolve = () => {};
		let reject = (_: unknown) => {};
		const promise = new Promise<void>((done, fail) => [resolve, reject] = [done, fail]);
		promise.catch(() => {});
		this.#awaited.set(index, { promise, resolve, reject });
	}
}
