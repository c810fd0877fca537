// Speed of the two places where a browser can keep a model: chunks in OPFS and in the Cache API, from the page and from
// a worker. The profile lies on disk. `npm ci` in tests/web first.
//
//   node storage.mjs [MIB]      MiB written and read, 256 by default
import { fileURLToPath } from 'node:url';
import { launchProfile } from '../../../tests/web/lib/browser.mjs';
import { serve } from '../../../tests/web/lib/server.mjs';

const total = Number(process.argv[2] ?? 256) * 2 ** 20;
const server = await serve({ '/': fileURLToPath(new URL('.', import.meta.url)) });
const context = await launchProfile();
try {
	const page = await context.newPage();
	await page.goto(`${server.origin}/storage.html`);
	await page.waitForFunction('window.ready');
	console.log('| store | from | chunk | at once | write MiB/s | read MiB/s |\n| --- | --- | --- | --- | --- | --- |');
	for (const mib of [1, 4]) {
		for (const parallel of [1, 4]) {
			for (const [where, store] of [['inPage', 'opfs'], ['inPage', 'cache'], ['inWorker', 'opfs'], ['inWorker', 'opfs-sync'], ['inWorker', 'cache']]) {
				// Chromium 156 hangs when several synchronous access handles are opened at once.
				if (store === 'opfs-sync' && parallel > 1) continue;
				const options = { store, chunk: mib * 2 ** 20, total, parallel };
				const r = await page.evaluate(([where, options]) => window[where](options), [where, options]);
				console.log(`| ${store} | ${where === 'inPage' ? 'page' : 'worker'} | ${mib} MiB | ${parallel} | ${r.write.toFixed(0)} | ${r.read.toFixed(0)} |`);
			}
		}
	}
} finally {
	await context.close();
	await server.close();
}
