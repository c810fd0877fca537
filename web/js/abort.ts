import { AbortedError } from './errors.js';

/** Throws if the signal is aborted. */
export function check(signal: AbortSignal | undefined): void {
	if (signal?.aborted) throw new AbortedError(signal.reason);
}

/** The promise's result, or `AbortedError` as soon as the signal is aborted; the work behind the promise goes on. */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
	if (!signal) return promise;
	let abort = () => {};
	const aborted = new Promise<never>((_, reject) => {
		abort = () => reject(new AbortedError(signal.reason));
		if (signal.aborted) abort();
		else signal.addEventListener('abort', abort, { once: true });
	});
	try {
		return await Promise.race([promise, aborted]);
	} finally {
		signal.removeEventListener('abort', abort);
	}
}

/** Waits so many milliseconds. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
	return abortable(new Promise((done) => setTimeout(done, ms)), signal);
}

/** Lets the page draw and answer. A timer would do so too, but runs once a second in a hidden tab. */
export function breathe(): Promise<void> {
	return new Promise((next) => {
		const { port1, port2 } = new MessageChannel();
		port1.onmessage = () => {
			port1.close();
			next();
		};
		port2.postMessage(null);
	});
}
