// A browser, a server and pages that import the built package by its name; and where everything lies.
import { join, resolve } from 'node:path';
import { browserOrReason } from './browser.mjs';
import { unbuilt } from './package.mjs';
import { serve } from './server.mjs';

/** The repository's root. */
export const ROOT = resolve(import.meta.dirname, '../../..');

/** Recorded cases and models beside the repository; its parts may be missing. */
export const SHARED = resolve(ROOT, '../shared');

/** Whether tests that take a part by default take everything. */
export const WHOLE_SET = Boolean(process.env.COREAI_WHOLE_SET);

/** A native program of this repository. */
export const program = (name) => join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'release', name);

const entry = (name) => `/coreai-web/dist/${name}.js`;
const IMPORTS = { 'coreai-web': entry('index'), 'coreai-web/language': entry('language'), 'coreai-web/worker': entry('worker') };
const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>coreai-web</title>
<link rel="icon" href="data:,">
<script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>
`;

/**
 * For `before` of a test file: a browser, and a server with the package under `/coreai-web/`, the tests under `/tests/`,
 * `../shared` under `/shared/` and the repository's own empty page.
 * @param {{mounts?: Parameters<typeof serve>[0], args?: string[]}} [options] further mounts, further flags of the browser
 * @returns `{browser, server, skip, page(context?), close()}`; `skip` is the reason for which nothing can run
 */
export async function start({ mounts = {}, args } = {}) {
	const unmade = unbuilt();
	const { browser, skip } = unmade ? { skip: unmade } : await browserOrReason(args);
	const server = await serve({
		'/coreai-web/': join(ROOT, 'web'),
		'/tests/': join(ROOT, 'tests'),
		'/shared/': SHARED,
		'/index.html': Buffer.from(PAGE),
		...mounts,
	});
	return {
		browser, server, skip,
		/** The empty page, in a profile of its own unless a context is given. Errors that nothing catches are printed. */
		async page(context) {
			const page = await (context ?? await browser.newContext()).newPage();
			page.on('pageerror', (error) => process.stderr.write(`page: ${error.stack ?? error.message}\n`));
			await page.goto(`${server.origin}/`);
			return page;
		},
		async close() {
			await browser?.close();
			await server.close();
		},
	};
}
