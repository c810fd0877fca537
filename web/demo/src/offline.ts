/** Lets the page open without a network: see `build/service-worker.js`. Development has no such worker. */
export async function keepOffline(): Promise<void> {
	if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return;
	try {
		await navigator.serviceWorker.register(new URL('sw.js', document.baseURI), { updateViaCache: 'none' });
	} catch (error) {
		// The page works without it, only not without a network.
		console.warn('the page is not kept for use without a network:', error);
	}
}
