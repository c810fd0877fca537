// Runs recorded cases in node on Dawn, Chromium's WebGPU, with the driver that the environment names.
//   node dawn/run.mjs --probe           prints the adapter as JSON, null without one
//   node dawn/run.mjs CASES.json OUT    CASES.json: [{id, folder, only?}]; writes what came out of each into OUT
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { create, globals } from 'webgpu';
import { device } from '../conformance/device.js';
import { runCase } from '../conformance/run.js';
import { ROOT } from '../lib/pages.mjs';

Object.assign(globalThis, globals);
// Whoever holds the instance holds the devices: letting go of it ends them.
const gpu = create([]);
Object.defineProperty(globalThis, 'navigator', { value: { gpu }, configurable: true });

async function probe() {
	const adapter = await gpu.requestAdapter().catch(() => null);
	if (!adapter) return null;
	const { vendor, architecture, description } = adapter.info;
	return { name: description || `${vendor} ${architecture}`, features: [...adapter.features] };
}

/** The package with its wasm module from the disk. */
async function loadPackage() {
	const at = (path) => join(ROOT, 'web', path);
	const { register } = await import(at('dist/engine.js'));
	const raw = await import(at('wasm/core/coreai_web.js'));
	const { memory } = await raw.default({ module_or_path: await readFile(at('wasm/core/coreai_web_bg.wasm')) });
	register('core', async () => ({ module: raw, memory }));
	return (await import(at('dist/model.js'))).AIModel;
}

async function runAll(cases, out) {
	const AIModel = await loadPackage();
	for (const [number, { id, folder, only }] of cases.entries()) {
		const asset = join(folder, 'model.aimodel');
		const source = Object.fromEntries(readdirSync(asset).map((name) => [`model.aimodel/${name}`, readFileSync(join(asset, name))]));
		const read = async (name) => {
			const bytes = await readFile(join(folder, name));
			return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
		};
		const found = await runCase(AIModel, { read, source, only }, { computeUnit: 'gpu', device });
		if (found.file) await writeFile(join(out, `${id}.safetensors`), found.file);
		else await writeFile(join(out, `${id}.json`), JSON.stringify(found));
		if ((number + 1) % 50 === 0) process.stderr.write(`dawn: ${number + 1} of ${cases.length} cases\n`);
	}
}

const [what, out] = process.argv.slice(2);
if (what === '--probe') process.stdout.write(`${JSON.stringify(await probe())}\n`);
else if (what && out && existsSync(what)) await runAll(JSON.parse(readFileSync(what, 'utf8')), out);
else throw new Error('usage: run.mjs --probe | CASES.json OUT');
// Dawn's threads keep the process alive.
process.exit(0);
