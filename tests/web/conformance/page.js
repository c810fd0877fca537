// In the page: runs recorded cases.
import { AIModel } from 'coreai-web';
import { device } from './device.js';
import { runCase as run } from './run.js';

async function bytes(url) {
	const answer = await fetch(url);
	if (!answer.ok) throw new Error(`${url}: status ${answer.status}`);
	return answer.arrayBuffer();
}

/** Text of bytes that a call to node can carry. */
function base64(of) {
	let text = '';
	for (let at = 0; at < of.length; at += 0x8000) text += String.fromCharCode(...of.subarray(at, at + 0x8000));
	return btoa(text);
}

/**
 * Runs a case.
 * @param {{url: string, only?: 'load'}} place folder of the case
 * @param {'gpu' | 'cpu'} computeUnit
 * @returns {Promise<{file: string} | {code: string, message: string}>} the file of tensors as base64, or the error
 */
export async function runCase({ url, only }, computeUnit) {
	const place = { read: (name) => bytes(`${url}/${name}`), source: new URL(`${url}/model.aimodel/`, location.href), only };
	const found = await run(AIModel, place, { computeUnit, device: computeUnit === 'gpu' ? device : undefined });
	return found.file ? { file: base64(found.file) } : found;
}
