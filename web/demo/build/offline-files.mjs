// Writes `sw.js`, the service worker with the list of the files that it keeps.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const WORKER = fileURLToPath(new URL('./service-worker.js', import.meta.url));
const PUBLIC = fileURLToPath(new URL('../public/', import.meta.url));

/** A Vite plugin that adds `sw.js` to the build. */
export function offlineFiles() {
	return {
		name: 'offline-files',
		apply: 'build',
		enforce: 'post',
		generateBundle: {
			order: 'post',
			handler(_, bundle) {
				const built = Object.keys(bundle).filter((name) => !name.endsWith('.map'));
				const copied = existsSync(PUBLIC) ? readdirSync(PUBLIC) : [];
				const files = ['./', ...new Set([...built, ...copied])].filter((name) => name !== 'index.html').sort();
				// Megabytes that a visit may not need are kept when they are first used.
				const large = (name) => name.endsWith('.wasm');
				const source = readFileSync(WORKER, 'utf8');
				const hash = createHash('sha256').update(source);
				for (const name of built) hash.update(name).update(bundle[name].code ?? bundle[name].source ?? '');
				for (const name of copied) hash.update(name).update(readFileSync(PUBLIC + name));
				const version = hash.digest('hex').slice(0, 16);
				const head = `const VERSION = '${version}';\nconst FILES = ${JSON.stringify(files.filter((name) => !large(name)))};\nconst LARGE = ${JSON.stringify(files.filter(large))};\n`;
				this.emitFile({ type: 'asset', fileName: 'sw.js', source: head + source });
			},
		},
	};
}
