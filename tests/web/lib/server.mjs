// A static server on 127.0.0.1 with range requests, faults on demand and a log of requests. It sends no COOP or COEP
// headers: pages must work without.
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { createHash } from 'node:crypto';

const TYPES = {
	'.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css',
	'.json': 'application/json', '.wasm': 'application/wasm', '.svg': 'image/svg+xml', '.png': 'image/png',
};
const PAUSE_BYTES = 64 * 1024;

/**
 * What goes wrong with a path. All fields are optional.
 * @typedef {object} Fault
 * @property {number} [breakAt] the connection breaks after this many bytes of the file (an offset in the file)
 * @property {boolean} [noRanges] range headers are ignored, the answer is 200 with everything
 * @property {boolean} [noLength] the length is not told (and ranges are ignored)
 * @property {number} [status] answer of this status
 * @property {boolean} [html] a missing page's HTML with status 200, as dev servers answer
 * @property {number} [delay] milliseconds before the answer
 * @property {number} [bytesPerSecond] speed of the body
 * @property {number} [times] the fault ends after this many requests
 */

/**
 * Serves folders and files from memory.
 * @param {Record<string, string | Buffer>} mounts URL prefix → folder (a string), or URL path → content (a buffer)
 * @returns `{origin, log, faults, put, remove, close}`. `log` has an entry `{method, path, range, sent, status}` of each request;
 *   `faults` maps URL paths to faults; `put` adds or replaces a file.
 */
export async function serve(mounts = {}) {
	const files = new Map();
	const folders = [];
	const log = [];
	const faults = new Map();
	for (const [path, what] of Object.entries(mounts)) {
		if (typeof what === 'string') folders.push([path.endsWith('/') ? path : `${path}/`, what]);
		else files.set(path, Buffer.from(what));
	}
	folders.sort(([a], [b]) => b.length - a.length);

	/** Content of a path: `{size, etag, stream(start, end)}`, or null. */
	async function find(path) {
		const content = files.get(path);
		if (content) {
			const etag = `"${createHash('sha256').update(content).digest('hex').slice(0, 16)}"`;
			return { size: content.length, etag, stream: (start, end) => [content.subarray(start, end)] };
		}
		const mount = folders.find(([prefix]) => path.startsWith(prefix));
		if (!mount) return null;
		const file = join(mount[1], normalize(`/${path.slice(mount[0].length)}`));
		const info = await stat(file).catch(() => null);
		if (!info?.isFile()) return null;
		const stream = (start, end) => (start < end ? createReadStream(file, { start, end: end - 1 }) : []);
		return { size: info.size, etag: `"${info.size}-${info.mtimeMs}"`, stream };
	}

	function fault(path) {
		const found = faults.get(path);
		if (!found) return {};
		if (found.times !== undefined && --found.times <= 0) faults.delete(path);
		return found;
	}

	async function answer(request, response) {
		const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
		const entry = { method: request.method, path, range: request.headers.range ?? null, status: 0, sent: 0 };
		log.push(entry);
		const wrong = fault(path);
		if (wrong.delay) await new Promise((done) => setTimeout(done, wrong.delay));
		const end = (status, headers = {}, body = '') => {
			entry.status = status;
			response.writeHead(status, headers).end(body);
		};
		if (wrong.status) return end(wrong.status);
		if (wrong.html) return end(200, { 'content-type': 'text/html' }, '<!doctype html><title>App</title>');
		const file = await find(path.endsWith('/') ? `${path}index.html` : path);
		if (!file) return end(404);
		let [start, stop] = [0, file.size];
		const headers = {
			'content-type': TYPES[extname(path)] ?? (path.endsWith('/') ? 'text/html' : 'application/octet-stream'),
			etag: file.etag, 'cache-control': 'no-cache',
		};
		if (request.headers['if-none-match'] === file.etag) return end(304, headers);
		entry.status = 200;
		const range = !wrong.noRanges && !wrong.noLength && /^bytes=(\d+)-(\d*)$/.exec(entry.range ?? '');
		if (range) {
			start = Number(range[1]);
			stop = range[2] ? Math.min(Number(range[2]) + 1, file.size) : file.size;
			if (start >= file.size) return end(416, { 'content-range': `bytes */${file.size}` });
			entry.status = 206;
			headers['content-range'] = `bytes ${start}-${stop - 1}/${file.size}`;
		}
		if (!wrong.noRanges && !wrong.noLength) headers['accept-ranges'] = 'bytes';
		if (!wrong.noLength) headers['content-length'] = stop - start;
		response.writeHead(entry.status, headers);
		if (request.method === 'HEAD') return response.end();
		let at = start;
		const closed = new Promise((done) => response.once('close', done));
		for await (let piece of file.stream(start, stop)) {
			for (; piece.length; piece = piece.subarray(PAUSE_BYTES)) {
				let part = piece.subarray(0, PAUSE_BYTES);
				const breaks = wrong.breakAt !== undefined && at + part.length > wrong.breakAt;
				if (breaks) part = part.subarray(0, Math.max(0, wrong.breakAt - at));
				if (response.destroyed) return;
				await Promise.race([closed, new Promise((done) => response.write(part, done))]);
				entry.sent += part.length;
				at += part.length;
				if (breaks) {
					// What was written reaches the page first: a browser throws away what it has not read when a connection breaks.
					await new Promise((done) => setTimeout(done, 500));
					return response.destroy();
				}
				if (wrong.bytesPerSecond) await new Promise((done) => setTimeout(done, part.length / wrong.bytesPerSecond * 1e3));
			}
		}
		response.end();
	}

	const server = createServer((request, response) => {
		answer(request, response).catch((error) => {
			console.error(`server: ${request.url}: ${error.message}`);
			response.destroy();
		});
	});
	await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
	return {
		origin: `http://127.0.0.1:${server.address().port}`,
		log, faults,
		put: (path, content) => files.set(path, Buffer.from(content)),
		remove: (path) => files.delete(path),
		/** Ends the server; a later `listen` starts it again at the same port. */
		stop: () => new Promise((closed) => {
			server.close(closed);
			server.closeAllConnections();
		}),
		listen() {
			const { port } = this;
			return new Promise((listening) => server.listen(port, '127.0.0.1', listening));
		},
		port: server.address().port,
		async close() {
			if (server.listening) await this.stop();
		},
	};
}

/** Content of a file, for `put`. */
export const content = (path) => readFile(path);
