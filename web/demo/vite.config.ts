import { defineConfig } from 'vite';
import { modelsRoute } from './build/models-route.mjs';
import { offlineFiles } from './build/offline-files.mjs';

export default defineConfig({
	// The page works from any folder of a server.
	base: './',
	plugins: [modelsRoute(), offlineFiles()],
	// The package makes URLs of its wasm and its worker from `import.meta.url`, which prebundling would move.
	optimizeDeps: { exclude: ['coreai-web'] },
	worker: { format: 'es' },
	build: { target: 'es2022', assetsInlineLimit: 0, modulePreload: { polyfill: false } },
	// The package lies one folder up.
	server: { fs: { allow: ['..'] } },
});
