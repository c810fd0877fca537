import init, * as module from '../wasm/core/coreai_web.js';
import { register } from './engine.js';

register('core', async () => {
	// This form is what bundlers look for.
	const url = new URL('../wasm/core/coreai_web_bg.wasm', import.meta.url);
	const { memory } = await init({ module_or_path: url });
	return { module, memory };
});
