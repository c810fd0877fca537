/**
 * The ready-made worker. `{worker: true}` starts it; a page that has to make its own, because its bundler or its content
 * security policy wants so, does it like this:
 *
 * @example
 * const worker = new Worker(new URL('coreai-web/worker', import.meta.url), {type: 'module'});
 * const model = await AIModel.load(url, {worker});
 *
 * @module
 */
import './core-engine.js';
import './language-engine.js';
import { LocalHost } from './local-host.js';
import { type Hello, serve } from './rpc.js';

addEventListener('message', ({ data }: MessageEvent<Hello>) => {
	if (data?.coreai) serve(data.port, new LocalHost(data.coreai));
});
