import { abortable, check, pause } from './abort.js';
import { AbortedError, NetworkError } from './errors.js';

/** Pauses before further tries, in milliseconds. */
const PAUSES = [200, 800, 2400];
/** Bytes after which a broken connection counts as a first failure again. */
const PROGRESS_BYTES = 64 << 10;

/** Which version of a file a server has. */
export interface Version {
	size: number;
	validator: string | null;
}

/** The file on the server is not the one that was begun with. */
export class FileChanged extends Error {}

/** No server was reached. */
export const unreachable = (error: unknown): error is NetworkError => error instanceof NetworkError && error.status === null;

/** Worth another try, or the stored copy: no answer, or a server in trouble. */
export const passing = (error: unknown): error is NetworkError =>
	error instanceof NetworkError && (error.status === null || error.status >= 500 || [408, 425, 429].includes(error.status));

/** Milliseconds without an answer, or without a byte of it, after which a connection counts as broken. */
const SILENCE_MS = 30_000;

/** Rejects when nothing is heard for too long. */
async function heard<T>(work: Promise<T>, give?: () => void): Promise<T> {
	let timer: ReturnType<typeof setTimeout> | undefined;
	const silence = new Promise<never>((_, reject) => {
		timer = setTimeout(() => {
			reject(new Error(`silence for ${SILENCE_MS / 1000} s`));
			give?.();
		}, SILENCE_MS);
	});
	try {
		return await Promise.race([work, silence]);
	} finally {
		clearTimeout(timer);
	}
}

/** One request. Missing files are answers; other statuses from 400 on are errors. */
export async function ask(url: string, init: RequestInit, signal?: AbortSignal): Promise<Response> {
	check(signal);
	let response: Response;
	const silent = new AbortController();
	try {
		const both = signal ? AbortSignal.any([signal, silent.signal]) : silent.signal;
		response = await heard(fetch(url, { ...init, signal: both }), () => silent.abort());
	} catch (error) {
		check(signal);
		const reason = error instanceof Error ? error.message : String(error);
		throw new NetworkError(`${url}: no answer (${reason}); check the connection, the address and the server's CORS headers`, url, null, { cause: error });
	}
	if (response.status >= 400 && !missing(response) && response.status !== 416) {
		void response.body?.cancel().catch(() => {});
		throw new NetworkError(`${url}: the server answered ${response.status} ${response.statusText}`.trimEnd(), url, response.status);
	}
	return response;
}

/** Whether the answer says that there is no such file. Development servers answer unknown paths with their start page. */
export function missing(response: Response): boolean {
	if (response.status === 404 || response.status === 410) return true;
	return response.ok && (response.headers.get('content-type') ?? '').startsWith('text/html');
}

/**
 * Tries again after failures that pass.
 * @param work told how to say that bytes arrived, which makes the next failure a first one again
 */
export async function retrying<T>(work: (arrived: (bytes: number) => void) => Promise<T>, signal?: AbortSignal): Promise<T> {
	let failures = 0;
	let arrived = 0;
	for (;;) {
		try {
			return await work((bytes) => {
				arrived += bytes;
				if (arrived >= PROGRESS_BYTES) [arrived, failures] = [0, 0];
			});
		} catch (error) {
			const wait = PAUSES[failures++];
			if (wait === undefined || !passing(error)) throw error;
			await pause(wait, signal);
		}
	}
}

/** The version that an answer is of; the size is `null` where it does not tell. */
export function versionOf(response: Response): { size: number | null; validator: string | null } {
	const { headers } = response;
	const validator = headers.get('etag')?.replace(/^W\//, '') ?? headers.get('last-modified');
	const total = /\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1];
	if (total !== undefined) return { size: Number(total), validator };
	const length = headers.get('content-length');
	// The length of a compressed body is not the file's.
	const told = response.status !== 206 && length !== null && !headers.get('content-encoding');
	return { size: told ? Number(length) : null, validator };
}

/** Whether an answer can be of the version. */
export function sameVersion(version: Version, found: { size: number | null; validator: string | null }): boolean {
	if (found.size !== null && found.size !== version.size) return false;
	return !found.validator || !version.validator || found.validator === version.validator;
}

/** Pieces of a body as they arrive; a broken connection is a `NetworkError`. */
export async function* pieces(url: string, response: Response, signal?: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
	const reader = response.body?.getReader();
	if (!reader) return;
	try {
		for (;;) {
			const { done, value } = await abortable(heard(reader.read()), signal);
			if (done) return;
			yield value;
		}
	} catch (error) {
		check(signal);
		if (error instanceof AbortedError) throw error;
		throw new NetworkError(`${url}: the connection broke`, url, null, { cause: error });
	} finally {
		void reader.cancel().catch(() => {});
	}
}

/** Header of a range request, end exclusive. */
export function ranged(init: RequestInit, start: number, end: number): RequestInit {
	const headers = new Headers(init.headers);
	headers.set('range', `bytes=${start}-${end - 1}`);
	// The browser's own cache would keep a second copy of every model.
	return { ...init, headers, cache: 'no-store' };
}

/** A chunk that is being fetched; what has arrived outlives a broken connection. */
export interface Arriving {
	start: number;
	bytes: Uint8Array;
	filled: number;
}

/** Asks for what a chunk lacks and fills it. Takes the bytes out of a whole file where the server knows no ranges. */
export async function fill(
	url: string, init: RequestInit, version: Version, chunk: Arriving, arrived: (bytes: number) => void, signal?: AbortSignal, first?: Response,
): Promise<void> {
	const from = chunk.start + chunk.filled;
	const response = first ?? await ask(url, ranged(init, from, chunk.start + chunk.bytes.length), signal);
	if (missing(response) || response.status === 416 || !sameVersion(version, versionOf(response))) {
		void response.body?.cancel().catch(() => {});
		throw new FileChanged(`${url} changed on the server`);
	}
	let skip = response.status === 206 ? 0 : from;
	for await (const piece of pieces(url, response, signal)) {
		const skipped = Math.min(skip, piece.length);
		skip -= skipped;
		const wanted = piece.subarray(skipped, skipped + chunk.bytes.length - chunk.filled);
		chunk.bytes.set(wanted, chunk.filled);
		chunk.filled += wanted.length;
		arrived(wanted.length);
		if (chunk.filled === chunk.bytes.length) return;
	}
	if (chunk.filled < chunk.bytes.length) {
		throw new NetworkError(`${url}: the answer ended ${chunk.bytes.length - chunk.filled} bytes early`, url, null);
	}
}
