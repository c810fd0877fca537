// Chunks in the origin private file system and in the Cache API, written and read. Runs in a page and in a worker.
const MIB = 1 << 20;

const opfs = {
	async open() {
		const root = await navigator.storage.getDirectory();
		await root.removeEntry('measured', { recursive: true }).catch(() => {});
		this.folder = await root.getDirectoryHandle('measured', { create: true });
	},
	async write(name, bytes) {
		const handle = await this.folder.getFileHandle(name, { create: true });
		const stream = await handle.createWritable();
		await stream.write(bytes);
		await stream.close();
	},
	async read(name) {
		const handle = await this.folder.getFileHandle(name);
		return new Uint8Array(await (await handle.getFile()).arrayBuffer());
	},
	async clear() {
		const root = await navigator.storage.getDirectory();
		await root.removeEntry('measured', { recursive: true });
	},
};

const opfsSync = {
	...opfs,
	async write(name, bytes) {
		const handle = await (await this.folder.getFileHandle(name, { create: true })).createSyncAccessHandle();
		handle.truncate(0);
		handle.write(bytes, { at: 0 });
		handle.close();
	},
	async read(name) {
		const handle = await (await this.folder.getFileHandle(name)).createSyncAccessHandle();
		const bytes = new Uint8Array(handle.getSize());
		handle.read(bytes, { at: 0 });
		handle.close();
		return bytes;
	},
};

const cache = {
	async open() {
		await caches.delete('measured');
		this.cache = await caches.open('measured');
	},
	write(name, bytes) {
		return this.cache.put(`/measured/${name}`, new Response(bytes));
	},
	async read(name) {
		return new Uint8Array(await (await this.cache.match(`/measured/${name}`)).arrayBuffer());
	},
	clear: () => caches.delete('measured'),
};

export const STORES = { opfs, 'opfs-sync': opfsSync, cache };

/** Seconds for writing and reading `total` bytes in chunks, `parallel` at a time. */
export async function measure({ store: name, chunk, total, parallel }) {
	const store = STORES[name];
	await store.open();
	const count = total / chunk;
	// Random bytes, different in every chunk: nothing can be compressed or shared.
	const bytes = new Uint8Array(chunk);
	for (let at = 0; at < chunk; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
	const all = async (one) => {
		const start = performance.now();
		let next = 0;
		const lane = async () => {
			while (next < count) await one(next++);
		};
		await Promise.all(Array.from({ length: parallel }, lane));
		return (performance.now() - start) / 1e3;
	};
	const writeSeconds = await all((i) => {
		const mine = bytes.slice();
		new DataView(mine.buffer).setUint32(0, i);
		return store.write(`chunk-${i}`, mine);
	});
	let wrong = 0;
	const readSeconds = await all(async (i) => {
		const found = await store.read(`chunk-${i}`);
		if (found.length !== chunk || new DataView(found.buffer).getUint32(0) !== i) wrong++;
	});
	await store.clear();
	if (wrong) throw new Error(`${name}: ${wrong} chunks came back wrong`);
	return { store: name, chunk: chunk / MIB, parallel, write: total / MIB / writeSeconds, read: total / MIB / readSeconds };
}

if (typeof WorkerGlobalScope !== 'undefined') {
	self.onmessage = async ({ data }) => {
		try {
			self.postMessage({ result: await measure(data) });
		} catch (error) {
			self.postMessage({ error: `${error.name}: ${error.message}` });
		}
	};
}
