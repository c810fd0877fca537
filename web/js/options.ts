import { connection, type Connection } from './connection.js';
import { InputError, typed } from './errors.js';
import type { Loaded, LoadRequest } from './host.js';
import type { LoadProgress } from './progress.js';
import { type ModelSource, plainSource } from './source.js';

/** How a model is loaded and run. */
export interface LoadOptions {
	/** Told at most ten times a second, and at every change of phase. */
	onProgress?(progress: LoadProgress): void;
	/** Aborts loading. What has been downloaded is kept, and the next load goes on there. */
	signal?: AbortSignal;
	/** The page's own device, not with `worker`. A function is called again after a loss; a device cannot be replaced. */
	device?: GPUDevice | (() => Promise<GPUDevice>);
	/** `auto` (default): the GPU, or the CPU where there is no WebGPU, which the report then says. */
	computeUnit?: 'auto' | 'gpu' | 'cpu';
	/** `fast` (default) rounds intermediates as the asset declares them, `exact` keeps float32. */
	precision?: 'fast' | 'exact';
	/** Fused kernels; on by default. */
	rules?: boolean;
	/** Makes every fallback an error. */
	strict?: boolean;
	/** Whether an adapter that computes on the processor will do. */
	allowSoftwareAdapter?: boolean;
	/** Runs the model in a worker: `true` for one of its own, or a `Worker` made from `coreai-web/worker`. */
	worker?: boolean | Worker;
	/**
	 * `prefer` (default): downloads are stored where there is room. `require`: `StorageQuotaError` where there is none.
	 * `none`: nothing is stored.
	 */
	storage?: 'prefer' | 'require' | 'none';
	/** Headers, credentials and the like of every request. */
	requestInit?: RequestInit;
}

/** Loads through the right host. */
export async function loadWith(source: ModelSource, options: LoadOptions, language?: LoadRequest['language']): Promise<{ loaded: Loaded; connection: Connection }> {
	const { onProgress, signal, device, computeUnit, precision, rules, strict, allowSoftwareAdapter, worker, storage = 'prefer', requestInit } = options;
	if (worker && device) throw new InputError('input', 'a device of the page cannot be used in a worker; load without worker, or without device');
	let used: Connection | undefined;
	try {
		const request: LoadRequest = {
			source: await plainSource(source, requestInit),
			storage, device, language,
			options: { computeUnit, precision, rules, strict, allowSoftwareAdapter },
		};
		used = connection(worker);
		return { loaded: await used.host.load(request, { signal, emit: onProgress && ((progress) => onProgress(progress)) }), connection: used };
	} catch (error) {
		used?.end();
		throw typed(error);
	}
}
