// Serves the samples' files (`models/` beside the page) in development and preview, with byte ranges as a web server does.
// They are no part of the build: a sample may be hundreds of megabytes.
import { createReadStream, realpathSync, statSync } from 'node:fs';
import { join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const MODELS = fileURLToPath(new URL('../models/', import.meta.url));
const ROUTE = '/models/';

// First and last byte of `Range: bytes=…`, the whole file without one, null for one that cannot be met.
function bytes(header, size) {
	const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
	if (!match || (!match[1] && !match[2])) return [0, size - 1];
	const first = match[1] ? Number(match[1]) : Math.max(0, size - Number(match[2]));
	const last = match[1] && match[2] ? Math.min(Number(match[2]), size - 1) : size - 1;
	return first <= last ? [first, last] : null;
}

function serve(request, response, next) {
	const path = new URL(request.url, 'http://localhost').pathname;
	if (!path.startsWith(ROUTE)) return next();
	const inside = normalize(decodeURIComponent(path.slice(ROUTE.length)));
	let file, size;
	try {
		if (inside.startsWith('..')) throw new Error('outside of the folder');
		file = realpathSync(join(MODELS, inside));
		const found = statSync(file);
		if (!found.isFile()) throw new Error('not a file');
		size = found.size;
		response.setHeader('etag', `"${size}-${Math.round(found.mtimeMs)}"`);
	} catch {
		// Without this the development server would answer with the page itself.
		response.writeHead(404, { 'content-type': 'text/plain' }).end(`no file ${inside} among the samples`);
		return;
	}
	response.setHeader('accept-ranges', 'bytes');
	response.setHeader('content-type', file.endsWith('.json') ? 'application/json' : 'application/octet-stream');
	const range = bytes(request.headers.range, size);
	if (!range) {
		response.writeHead(416, { 'content-range': `bytes */${size}` }).end();
		return;
	}
	const [first, last] = range;
	if (request.headers.range) response.setHeader('content-range', `bytes ${first}-${last}/${size}`);
	response.writeHead(request.headers.range ? 206 : 200, { 'content-length': last - first + 1 });
	if (request.method === 'HEAD' || !size) response.end();
	else createReadStream(file, { start: first, end: last }).pipe(response);
}

/** A Vite plugin that answers below `/models/`. */
export function modelsRoute() {
	const add = (server) => void server.middlewares.use(serve);
	return { name: 'models-route', configureServer: add, configurePreviewServer: add };
}
