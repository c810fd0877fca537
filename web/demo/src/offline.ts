// A worker that takes longer to install must not keep a model from loading.
const MOST_MS = 3000;

/**
 * Lets the page open without a network: see `build/service-worker.js`. Development has no such worker.
 * @returns resolves when the worker sees what the page fetches, so that it keeps it, or when it will not
 */
export async function keepOffline(): Promise<void> {
	if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return;
	const { serviceWorker } = navigator;
	const controlled = new Promise<void>((done) => {
		if (serviceWorker.controller) done();
		serviceWorker.addEventListener('controllerchange', () => done(), { once: true });
		setTimeout(done, MOST_MS);
	});
	try {
		await serviceWorker.register(new URL('sw.js', document.baseURI), { updateViaCache: 'none' });
		await controlled;
	} catch (error) {
		// The page works without it, only not without a network.
		console.warn('the page is not kept for use without a network:', error);
	}
}
