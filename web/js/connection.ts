import { preferred } from './engine.js';
import { CoreAIError } from './errors.js';
import type { Host } from './host.js';
import { LocalHost } from './local-host.js';
import { connect, type Hello } from './rpc.js';

/** A host, and what ends it. */
export interface Connection {
	host: Host;
	/** Ends a worker that was started for one model. */
	end(): void;
}

let local: LocalHost | undefined;
const connected = new WeakMap<Worker, Host>();

function greet(worker: Worker): { host: Host; fail(error: CoreAIError): void } {
	const { port1, port2 } = new MessageChannel();
	const { host, fail } = connect(port1);
	worker.addEventListener('error', (event) => {
		fail(new CoreAIError('worker', `the worker failed: ${event.message || 'its script did not load'}; pass a Worker made from coreai-web/worker`));
	});
	worker.postMessage({ coreai: preferred(), port: port2 } satisfies Hello, [port2]);
	return { host, fail };
}

/** The ready-made worker. Where this package comes from another origin, a script of this one imports it. */
function ready(): Worker {
	try {
		// This form is what bundlers look for.
		return new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
	} catch {
		const file = 'worker.js';
		const code = `import ${JSON.stringify(new URL(file, import.meta.url).href)};`;
		return new Worker(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })), { type: 'module' });
	}
}

/** The host of this page, of the given worker, or of a new one. */
export function connection(worker: boolean | Worker | undefined): Connection {
	if (!worker) return { host: (local ??= new LocalHost()), end: () => {} };
	if (worker === true) {
		const own = ready();
		const { host, fail } = greet(own);
		const end = () => {
			own.terminate();
			fail(new CoreAIError('disposed', 'the model was disposed; load it again'));
		};
		return { host, end };
	}
	const host = connected.get(worker) ?? greet(worker).host;
	connected.set(worker, host);
	return { host, end: () => {} };
}
