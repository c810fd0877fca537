import { AssetError } from './errors.js';
import type { Folder, LargeFile } from './folder.js';
import type { ProgressMeter } from './progress.js';
import type { ReportEntry } from './report.js';

/** Files of a page by path. */
export type LocalFiles = Record<string, Blob | FileSystemFileHandle>;

/** Files that the page gave; read in slices. */
export class LocalFolder implements Folder {
	readonly around = false;
	readonly entries: ReportEntry[] = [];

	constructor(
		readonly name: string,
		private readonly files: LocalFiles,
		private readonly meter: ProgressMeter,
		readonly file?: string,
	) {}

	async small(path: string): Promise<Uint8Array | null> {
		const blob = await this.#blob(path);
		return blob && this.#bytes(path, blob);
	}

	async large(path: string): Promise<LargeFile | null> {
		const blob = await this.#blob(path);
		if (!blob) return null;
		this.meter.begin(`${this.name}/${path}`, blob.size, 'prepare');
		return {
			length: blob.size,
			read: (start, end) => this.#bytes(path, blob.slice(start, end)),
			finished: () => Promise.resolve(),
			failed: () => new Promise(() => {}),
		};
	}

	assets(): Promise<string[]> {
		if (this.files['main.mlirb']) return Promise.resolve([]);
		const found = Object.keys(this.files).filter((path) => /^[^/]+\.aimodel\/main\.mlirb$/.test(path));
		return Promise.resolve(found.map((path) => path.split('/')[0]!));
	}

	settle(): Promise<void> {
		return Promise.resolve();
	}

	async #bytes(path: string, blob: Blob): Promise<Uint8Array> {
		return new Uint8Array(await this.#readable(path, blob.arrayBuffer()));
	}

	async #readable<T>(path: string, work: Promise<T>): Promise<T> {
		try {
			return await work;
		} catch (error) {
			throw new AssetError('asset.source', `${this.name}/${path} cannot be read (${String(error)}); it may have changed, so choose it again`, { cause: error });
		}
	}

	async #blob(path: string): Promise<Blob | null> {
		const found = Object.hasOwn(this.files, path) ? this.files[path]! : null;
		return found && ('getFile' in found ? this.#readable(path, found.getFile()) : found);
	}
}
