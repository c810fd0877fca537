import init, * as module from '../wasm/language/coreai_web.js';
import { register } from './engine.js';

register('language', async () => {
	// This form is what bundlers look for.
	const url = new URL('../wasm/language/coreai_web_bg.wasm', import.meta.url);
	const { memory } = await init({ module_or_path: url });
	return { module, language: module, memory };
});
