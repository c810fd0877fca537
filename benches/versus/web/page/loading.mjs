// Called by ../loading.mjs: loads a language bundle and makes it say a few tokens.
const MODULE = new URL('/web/dist/language.js', location.href).href;
const TOKENS = 4;

/**
 * @param {string} model address of the bundle's folder
 * @param {object} options of LanguageModel.load
 * @returns figures: ms since the start at which the module was there, the model loaded and the first text seen;
 *   bytes of wasm memory after the load and at the end; bytes on the device; how many bytes came from storage
 */
window.measure = async function measure(model, options) {
	const start = performance.now();
	const since = () => performance.now() - start;
	const { LanguageModel } = await import(MODULE);
	const module = since();
	let stored = 0;
	const phases = {};
	const lm = await LanguageModel.load(new URL(model, location.href), {
		allowSoftwareAdapter: true,
		...options,
		onProgress({ phase, fromStorage }) {
			stored = Math.max(stored, fromStorage);
			phases[phase] = since();
		},
	});
	const loaded = since();
	const { wasmBytes, device } = await lm.model.memory();
	let first;
	const stream = lm.chat('Hi!', { maxTokens: TOKENS, temperature: 0 });
	for await (const { text } of stream) if (text) first ??= since();
	const { text, figures } = await stream.turn;
	const after = await lm.model.memory();
	const { computeUnit } = lm.model;
	const { entries } = await lm.model.report();
	lm.dispose();
	return {
		module, loaded, first, phases, stored, wasmBytes, wasmBytesAfter: after.wasmBytes, device, text, figures,
		computeUnit, fallbacks: entries.filter(({ fallback }) => fallback).map(({ code, message }) => `${code}: ${message}`),
	};
};
