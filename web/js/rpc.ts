import { check } from './abort.js';
import { CoreAIError, unwire, wire, type WireError } from './errors.js';
import type { Call, Host } from './host.js';

type Method = keyof Host;

/** From the page: a request, or the end of one. */
type Request = { id: number; method: Method; argument: unknown } | { id: number; abort: true };

/** From the worker. */
type Reply = { id: number; event: unknown } | { id: number; result: unknown } | { id: number; error: WireError };

/** First message to a worker, with the port that all others take. */
export interface Hello {
	coreai: 'core' | 'language';
	port: MessagePort;
}

/** Buffers of typed arrays in a result, to be moved and not copied. */
function buffers(value: unknown, found = new Set<ArrayBuffer>()): Set<ArrayBuffer> {
	if (ArrayBuffer.isView(value)) {
		if (value.buffer instanceof ArrayBuffer) found.add(value.buffer);
	} else if (typeof value === 'object' && value !== null) {
		for (const inner of Object.values(value)) buffers(inner, found);
	}
	return found;
}

/** Device buffers stay behind. */
function withoutBuffers(result: unknown): unknown {
	if (typeof result !== 'object' || result === null || ArrayBuffer.isView(result)) return result;
	return Object.fromEntries(Object.entries(result).map(([name, value]) => [name, value !== null && typeof value === 'object' && 'tensor' in value ? { ...value, buffer: null } : value]));
}

/** Answers requests that come through a port. */
export function serve(port: MessagePort, host: Host): void {
	const running = new Map<number, AbortController>();
	port.onmessage = async ({ data }: MessageEvent<Request>) => {
		const { id } = data;
		if ('abort' in data) return void running.get(id)?.abort();
		const controller = new AbortController();
		running.set(id, controller);
		const call: Call<unknown> = { signal: controller.signal, emit: (event) => port.postMessage({ id, event } satisfies Reply) };
		try {
			const method = host[data.method] as (argument: unknown, call: Call<unknown>) => Promise<unknown>;
			const result = await method.call(host, data.argument, call);
			const plain = data.method === 'runOnDevice' ? withoutBuffers(result) : result;
			port.postMessage({ id, result: plain } satisfies Reply, data.method === 'report' ? [] : [...buffers(plain)]);
		} catch (error) {
			port.postMessage({ id, error: wire(error) } satisfies Reply);
		} finally {
			running.delete(id);
		}
	};
}

interface Waiting {
	resolve(value: unknown): void;
	reject(error: unknown): void;
	call: Call<unknown> | undefined;
}

/** A host behind a port, and a way to say that it is gone. */
export function connect(port: MessagePort): { host: Host; fail(error: CoreAIError): void } {
	const waiting = new Map<number, Waiting>();
	let next = 1;
	let gone: CoreAIError | null = null;
	port.onmessage = ({ data }: MessageEvent<Reply>) => {
		const entry = waiting.get(data.id);
		if (!entry) return;
		if ('event' in data) return entry.call?.emit?.(data.event);
		waiting.delete(data.id);
		if ('error' in data) entry.reject(unwire(data.error, entry.call?.signal?.aborted ? entry.call.signal.reason : undefined));
		else entry.resolve(data.result);
	};
	port.onmessageerror = () => fail(new CoreAIError('worker', 'a message of the worker could not be read'));

	function fail(error: CoreAIError): void {
		gone = error;
		for (const { reject } of waiting.values()) reject(error);
		waiting.clear();
	}

	const send = (method: Method) => async (argument: unknown, call?: Call<unknown>): Promise<unknown> => {
		if (gone) throw gone;
		check(call?.signal);
		const id = next++;
		const abort = () => port.postMessage({ id, abort: true } satisfies Request);
		const result = new Promise((resolve, reject) => waiting.set(id, { resolve, reject, call }));
		try {
			port.postMessage({ id, method, argument } satisfies Request);
		} catch (error) {
			waiting.delete(id);
			throw new CoreAIError('input', `this cannot be sent to a worker: ${(error as Error).message}`, { cause: error });
		}
		call?.signal?.addEventListener('abort', abort);
		try {
			return await result;
		} finally {
			call?.signal?.removeEventListener('abort', abort);
		}
	};
	const host = new Proxy({}, { get: (_, method) => send(method as Method) }) as Host;
	return { host, fail };
}
