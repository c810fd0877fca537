// The tarball of `make web` as a user installs it: the example installs it, is built with Vite, and runs in the browser.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { browserOrReason } from './lib/browser.mjs';
import { serve } from './lib/server.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PACKAGE = join(ROOT, 'web');
const ASSET = 'fn-two-mul-u8';

let browser, server, reason, folder;

before(async () => {
	const tarball = readdirSync(PACKAGE).find((name) => /^coreai-web-.*\.tgz$/.test(name));
	if (!tarball) {
		if (process.env.CI) throw new Error('there is no tarball in web/; `make web` makes it');
		reason = 'there is no tarball: make web';
		return;
	}
	({ browser, skip: reason } = await browserOrReason());
	if (!browser) return;
	folder = mkdtempSync(join(tmpdir(), 'coreai-example-'));
	cpSync(join(PACKAGE, 'example'), join(folder, 'example'), {
		recursive: true,
		filter: (path) => !/node_modules|dist$/.test(path),
	});
	cpSync(join(PACKAGE, tarball), join(folder, tarball));
	const npm = (...args) => execFileSync('npm', [...args, '--silent'], { cwd: join(folder, 'example'), stdio: 'inherit' });
	npm('install', '--no-audit', '--no-fund');
	npm('run', 'build');
	server = await serve({ '/page/': join(folder, 'example/dist'), '/assets/': join(ROOT, 'tests/assets') });
});

after(async () => {
	await browser?.close();
	await server?.close();
	if (folder) rmSync(folder, { recursive: true, force: true });
});

async function told(model) {
	const page = await browser.newPage();
	try {
		await page.goto(`${server.origin}/page/index.html?model=${encodeURIComponent(model)}`);
		const result = page.locator('#result[data-done]');
		await result.waitFor({ timeout: 120_000 });
		return { text: await result.textContent(), done: await result.getAttribute('data-done') };
	} finally {
		await page.close();
	}
}

test('the packed package has both modules and its types', (t) => {
	if (reason) return t.skip(reason);
	const installed = join(folder, 'example/node_modules/coreai-web');
	for (const file of ['wasm/core/coreai_web_bg.wasm', 'wasm/language/coreai_web_bg.wasm', 'dist/index.d.ts', 'dist/worker.js']) {
		assert.ok(existsSync(join(installed, file)), `${file} is missing`);
	}
});

test('the modules are small', (t) => {
	if (reason) return t.skip(reason);
	for (const [name, limit] of [['core', 1.5e6], ['language', 3e6]]) {
		const bytes = gzipSync(readFileSync(join(PACKAGE, 'wasm', name, 'coreai_web_bg.wasm')), { level: 9 }).length;
		t.diagnostic(`${name}: ${bytes} bytes compressed`);
		assert.ok(bytes <= limit, `${name} has ${bytes} bytes compressed, at most ${limit} are allowed`);
	}
});

test('the built page runs an asset', async (t) => {
	if (reason) return t.skip(reason);
	const { text, done } = await told(`/assets/${ASSET}/model.aimodel`);
	assert.equal(done, 'true', text);
	assert.match(text, /^main ran on the (CPU|GPU) unit\n\w+: uint8 \[3, 2, 4\] 1, 1, 1, 1, …/);
});

test('a missing asset is an error that names it', async (t) => {
	if (reason) return t.skip(reason);
	const { text, done } = await told('/assets/nothing.aimodel');
	assert.equal(done, 'false');
	assert.match(text, /nothing\.aimodel/);
});
