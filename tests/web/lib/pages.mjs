// Pages that import the built package by its name, and where everything lies.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { serve } from './server.mjs';

/** The repository's root. */
export const ROOT = resolve(import.meta.dirname, '../../..');

/** Recorded cases and models beside the repository; its parts may be missing. */
export const SHARED = resolve(ROOT, '../shared');

/** Whether tests that take a part by default take everything. */
export const WHOLE_SET = Boolean(process.env.COREAI_WHOLE_SET);

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>coreai-web</title>
<link rel="icon" href="data:,">
<script type="importmap">${JSON.stringify({
	imports: {
		'coreai-web': '/coreai-web/dist/index.js',
		'coreai-web/language': '/coreai-web/dist/language.js',
		'coreai-web/worker': '/coreai-web/dist/worker.js',
	},
})}</script>
`;

/**
 * Serves the package under `/coreai-web/`, the tests under `/tests/`, `../shared` under `/shared/` and an empty page at
 * `/page.html`. Fails where the package was not built.
 * @param {Parameters<typeof serve>[0]} [more] further mounts
 */
export function serveAll(more = {}) {
	for (const built of ['web/dist/index.js', 'web/wasm/core/coreai_web_bg.wasm', 'web/wasm/language/coreai_web_bg.wasm']) {
		if (!existsSync(join(ROOT, built))) throw new Error(`${built} is not there; \`make web\` builds it`);
	}
	return serve({
		'/coreai-web/': join(ROOT, 'web'),
		'/tests/': join(ROOT, 'tests'),
		'/shared/': SHARED,
		'/page.html': Buffer.from(PAGE),
		...more,
	});
}

/**
 * Opens the empty page. What it logs as an error, and errors that nothing catches, are printed and kept in
 * `page.troubles`.
 * @param {import('playwright-core').Browser | import('playwright-core').BrowserContext} browser
 * @param {{origin: string}} server
 */
export async function openPage(browser, server) {
	const page = await browser.newPage();
	page.troubles = [];
	const trouble = (text) => {
		page.troubles.push(text);
		process.stderr.write(`page: ${text.slice(0, 2000)}\n`);
	};
	page.on('pageerror', (error) => trouble(error.message));
	page.on('console', (message) => message.type() === 'error' && trouble(message.text()));
	page.setDefaultTimeout(60_000);
	await page.goto(`${server.origin}/page.html`);
	return page;
}
