// A static file server for the pages of this folder, without COOP and COEP.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize, sep } from 'node:path';

const TYPES = {
	'.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm',
	'.json': 'application/json', '.css': 'text/css',
};

/**
 * Serves folders on a free port of 127.0.0.1, with byte ranges and entity tags.
 *
 * @param {Record<string, string>} folders by the first part of the path: `{models: '/tmp/models'}` is /models/…
 * @returns {Promise<{origin: string, sent(first: string): number, cut(first: string): void, close(): Promise<void>}>}
 *   `sent`: bytes of bodies of a folder so far; `cut`: from now on connections for a folder break, as without a network
 */
export async function serve(folders) {
	const sent = {};
	const broken = new Set();
	const server = createServer(async (request, answer) => {
		const refuse = (status) => answer.writeHead(status).end();
		const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
		const [, first, ...rest] = normalize(path).split(sep);
		if (broken.has(first)) return answer.destroy();
		if (!(first in folders) || rest.includes('..')) return refuse(404);
		const file = join(folders[first], ...rest);
		const found = await stat(file).catch(() => null);
		if (!found?.isFile()) return refuse(404);
		const tag = `"${found.size.toString(16)}-${Math.trunc(found.mtimeMs).toString(16)}"`;
		const headers = {
			'content-type': TYPES[extname(file)] ?? 'application/octet-stream',
			'accept-ranges': 'bytes', 'cache-control': 'no-store', etag: tag,
		};
		let [start, end] = [0, found.size - 1];
		const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
		const fresh = !request.headers['if-range'] || request.headers['if-range'] === tag;
		if (range && fresh) {
			start = Number(range[1]);
			if (range[2]) end = Math.min(end, Number(range[2]));
			if (start > end) return answer.writeHead(416, { 'content-range': `bytes */${found.size}` }).end();
			headers['content-range'] = `bytes ${start}-${end}/${found.size}`;
		}
		headers['content-length'] = end - start + 1;
		answer.writeHead(range && fresh ? 206 : 200, headers);
		if (request.method === 'HEAD' || !found.size) return answer.end();
		const stream = createReadStream(file, { start, end });
		stream.on('data', (bytes) => (sent[first] = (sent[first] ?? 0) + bytes.length));
		stream.on('error', () => answer.destroy());
		stream.pipe(answer);
	});
	await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
	return {
		origin: `http://127.0.0.1:${server.address().port}`,
		sent: (first) => sent[first] ?? 0,
		cut: (first) => broken.add(first),
		close: () => new Promise((closed) => {
			server.close(closed);
			server.closeAllConnections();
		}),
	};
}
