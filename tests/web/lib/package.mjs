// The package served to a page, and a stand-in for the wasm module that reads files of random bytes: tests of loading and
// storage need large files, not models.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { browserOrReason } from './browser.mjs';
import { serve } from './server.mjs';

const root = (path) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const BLANK = '<!doctype html><title>Test</title><link rel="icon" href="data:,">';

/** Why the tests of the package cannot run; undefined where they can. */
export function unbuilt() {
	const missing = ['web/dist/index.js', 'web/wasm/core/coreai_web_bg.wasm', 'web/wasm/language/coreai_web_bg.wasm'].filter((path) => !existsSync(root(path)));
	if (!missing.length) return undefined;
	const reason = `${missing.join(', ')} not built; make web`;
	if (process.env.CI) throw new Error(reason);
	return reason;
}

/**
 * A browser and a server with the package at /web/, the recorded cases at /assets/ and a blank page at /.
 * @returns `{browser, server, skip, page(context?), close}`; `skip` is the reason for which nothing can run
 */
export async function bench() {
	const unmade = unbuilt();
	const { browser, skip } = unmade ? { skip: unmade } : await browserOrReason();
	const server = await serve({ '/web/': root('web'), '/assets/': root('tests/assets'), '/index.html': Buffer.from(BLANK) });
	return {
		browser, server, skip,
		/** A blank page of the server, with a profile of its own unless a context is given. */
		async page(context) {
			const page = await (context ?? await browser.newContext()).newPage();
			page.on('pageerror', (error) => console.error(`page: ${error.message}`));
			await page.goto(`${server.origin}/`);
			return page;
		},
		async close() {
			await browser?.close();
			await server.close();
		},
	};
}

/** Bytes that look random and are the same for the same seed. */
export function noise(length, seed = 1) {
	const bytes = Buffer.alloc(length);
	let x = seed >>> 0 || 1;
	for (let at = 0; at + 4 <= length; at += 4) {
		x ^= x << 13;
		x ^= x >>> 17;
		x ^= x << 5;
		bytes.writeUInt32LE(x >>> 0, at);
	}
	return bytes;
}

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest();

/** Puts a file of random bytes with its hash at `/NAME.aimodel/`. */
export function putModel(server, name, bytes, hash = sha256(bytes)) {
	server.put(`/${name}.aimodel/main.mlirb`, bytes);
	server.put(`/${name}.aimodel/metadata.json`, '{"assetVersion": "2.0"}');
	if (hash) server.put(`/${name}.aimodel/main.hash`, hash);
	else server.remove(`/${name}.aimodel/main.hash`);
	return `/${name}.aimodel/main.mlirb`;
}

/** Requests of a path since an index of the log. */
export const requests = (server, path, since = 0) => server.log.slice(since).filter((entry) => entry.path === path && entry.method === 'GET');

/**
 * In the page: `load(url, options)` loads through the public API with a module whose model reads the whole file, and
 * tells how it went: `{hash, report, events}` or `{error}`. `options.abortAt`: aborts at so many bytes.
 */
export async function standIn(page) {
	await page.evaluate(async () => {
		const { register } = await import('/web/dist/engine.js');
		const { AIModel } = await import('/web/dist/model.js');
		const { storage } = await import('/web/dist/storage.js');
		const raw = await import('/web/wasm/core/coreai_web.js');
		const { memory } = await raw.default({ module_or_path: new URL('/web/wasm/core/coreai_web_bg.wasm', location.href) });
		const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
		let readers = [];
		const Asset = { read: async (source) => ({ source, functions: () => '[]', free() {} }) };
		const readAll = async (source) => {
			const hash = new raw.Sha256();
			for (let at = 0; at < source.length; at += 3 << 20) hash.update(await source.read(at, Math.min(source.length, at + (3 << 20))));
			return hex(hash.digest());
		};
		const Model = {
			async specialize({ source }) {
				readers.push(source);
				const hash = await readAll(source);
				const report = () => JSON.stringify({ schema_version: 1, compute_unit: 'cpu', device: null, precision: hash, entries: [] });
				return { report, computeUnit: () => 'cpu', adapter: () => 'null', isLost: () => false, free() {} };
			},
		};
		register('core', async () => ({ module: { ...raw, Asset, Model }, memory }));
		const told = (error) => {
			const { name, code, message, url, status, missing } = error;
			return { name, code, message, url, status, missing, typed: error instanceof Error, cause: error.cause === undefined ? null : String(error.cause) };
		};
		window.load = async (url, { abortAt, ...options } = {}) => {
			const controller = new AbortController();
			const events = [];
			if (abortAt === 0) controller.abort('enough');
			const onProgress = (event) => {
				events.push(event);
				if (abortAt && event.loaded >= abortAt && event.phase !== 'ready') controller.abort('enough');
			};
			try {
				const model = await AIModel.load(url, { ...options, onProgress, signal: controller.signal });
				const report = await model.report();
				return { hash: report.precision, entries: report.entries.map((e) => e.code), events, last: events.at(-1) };
			} catch (error) {
				return { error: told(error), events };
			}
		};
		/** Reads all of the model that was loaded last, as a rebuilt one does. */
		window.readAgain = async () => readAll(readers.at(-1)).catch((error) => ({ error: told(error) }));
		window.stored = async () => (await storage.list()).map((entry) => ({ ...entry, lastUsed: +entry.lastUsed }));
		window.storage_ = storage;
	});
}

/** In the page: damages or removes a stored piece whose name ends with `ending`. */
export function damage(page, ending, how) {
	return page.evaluate(async ([ending, how]) => {
		const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('coreai-web');
		let found = 0;
		for await (const folder of root.values()) {
			for await (const [name, file] of folder.entries()) {
				if (!name.endsWith(ending)) continue;
				found++;
				if (how === 'remove') {
					await folder.removeEntry(name);
					continue;
				}
				const bytes = new Uint8Array(await (await file.getFile()).arrayBuffer());
				bytes[bytes.length >> 1] ^= 1;
				const stream = await file.createWritable();
				await stream.write(bytes);
				await stream.close();
			}
		}
		return found;
	}, [ending, how]);
}
