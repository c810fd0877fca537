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
		return blob && new Uint8Array(await blob.arrayBuffer());
	}

	async large(path: string): Promise<LargeFile | null> {
		const blob = await this.#blob(path);
		if (!blob) return null;
		this.meter.begin(`${this.name}/${path}`, blob.size, 'prepare');
		return {
			length: blob.size,
			read: async (start, end) => new Uint8Array(await blob.slice(start, end).arrayBuffer()),
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

	async #blob(path: string): Promise<Blob | null> {
		const found = Object.hasOwn(this.files, path) ? this.files[path]! : null;
		return found && ('getFile' in found ? found.getFile() : found);
	}
}
