// The repository's own cases in node on Dawn, Chromium's WebGPU, with shader-f16 and subgroups, which the software adapter
// of the browser lacks in part. It takes the Vulkan driver that VK_DRIVER_FILES names, or the system's. Debian 12's lavapipe
// is too old for Dawn; 25.0 of its backports will do.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { unbuilt } from './lib/package.mjs';
import { WHOLE_SET } from './lib/pages.mjs';
import { judge } from './conformance/judge.mjs';
import { loadedOnly, ownCases, sharedCases } from './conformance/sample.mjs';

const RUN = join(import.meta.dirname, 'dawn/run.mjs');
const FEATURES = ['shader-f16', 'subgroups'];
/** Cases of the large set; a pipeline takes long to compile here. */
const SAMPLE = WHOLE_SET ? 300 : 0;

/** The adapter, or why there is none. */
function probe() {
	const done = spawnSync(process.execPath, [RUN, '--probe'], { encoding: 'utf8', timeout: 60_000 });
	if (/ERR_MODULE_NOT_FOUND.*|Cannot find package/.test(done.stderr)) return { reason: 'no npm package webgpu; `npm ci` in tests/web installs it where it can' };
	const line = done.stdout?.trim().split('\n').at(-1);
	const adapter = line?.startsWith('{') ? JSON.parse(line) : null;
	if (!adapter) return { reason: 'Dawn finds no Vulkan driver that it can use; VK_DRIVER_FILES may name a newer one' };
	const lacking = FEATURES.filter((feature) => !adapter.features.includes(feature));
	return lacking.length ? { reason: `${adapter.name} has no ${lacking.join(', ')}` } : { adapter };
}

test('recorded cases on Dawn with shader-f16 and subgroups', { timeout: WHOLE_SET ? 0 : 900_000 }, async (t) => {
	const reason = unbuilt();
	if (reason) return t.skip(reason);
	const found = probe();
	if (found.reason) return t.skip(found.reason);
	const only = loadedOnly();
	const cases = [...ownCases(), ...(SAMPLE && sharedCases(SAMPLE) || [])];
	const folder = await mkdtemp(join(tmpdir(), 'coreai-results-dawn-'));
	try {
		const list = join(folder, 'cases.json');
		await writeFile(list, JSON.stringify(cases.map(({ id, folder }) => ({ id, folder, only: only.has(id) ? 'load' : undefined }))));
		const begin = performance.now();
		const child = spawn(process.execPath, [RUN, list, folder], { stdio: ['ignore', 'inherit', 'inherit'], signal: t.signal });
		const status = await new Promise((done) => child.on('close', done).on('error', () => done('stopped')));
		assert.equal(status, 0, `node on Dawn ended with ${status}`);
		const judged = judge(cases, 'gpu', folder);
		assert.ok(typeof judged !== 'string', `the results are not judged: ${judged}`);
		const native = judge(cases, 'cpu');
		const differs = cases.filter(({ id }) => judged.get(id).verdict !== native.get(id).verdict)
			.map(({ id }) => `${id}: ${judged.get(id).verdict} (${judged.get(id).detail}); natively ${native.get(id).verdict}`);
		t.diagnostic(`${cases.length} cases on ${found.adapter.name} in ${((performance.now() - begin) / 1e3).toFixed(0)} s`);
		assert.equal(differs.length, 0, `${differs.length} of ${cases.length} cases differ from the native CPU unit:\n${differs.join('\n')}`);
	} finally {
		await rm(folder, { recursive: true, force: true });
	}
});
