// Keeps the files of the page, so that it opens without a network. Models are none of its business: the package stores them.
// VERSION, FILES (kept at once) and LARGE (kept when used) are written in front of this by the build.
const PREFIX = 'coreai-demo-';
const CACHE = PREFIX + VERSION;
const SCOPE = self.registration.scope;
const atOnce = FILES.map((file) => new URL(file, SCOPE).href);
const kept = new Set([...atOnce, ...LARGE.map((file) => new URL(file, SCOPE).href)]);
// Names below assets/ carry a hash of what is in them.
const FIXED = new URL('assets/', SCOPE).href;

self.addEventListener('install', (event) => {
	const add = async () => {
		const cache = await caches.open(CACHE);
		await cache.addAll(atOnce.map((url) => new Request(url, { cache: url.startsWith(FIXED) ? 'default' : 'no-cache' })));
		await self.skipWaiting();
	};
	event.waitUntil(add());
});

self.addEventListener('activate', (event) => {
	const clean = async () => {
		const names = await caches.keys();
		await Promise.all(names.filter((name) => name.startsWith(PREFIX) && name !== CACHE).map((name) => caches.delete(name)));
		await self.clients.claim();
	};
	event.waitUntil(clean());
});

async function fresh(request, key) {
	const cache = await caches.open(CACHE);
	try {
		const response = await fetch(request);
		if (response.ok) await cache.put(key, response.clone()).catch(() => {});
		return response;
	} catch (error) {
		const found = await cache.match(key);
		if (found) return found;
		throw error;
	}
}

async function fixed(request, key) {
	const cache = await caches.open(CACHE);
	const found = await cache.match(key);
	if (found) return found;
	const response = await fetch(request);
	// A full storage must not keep the page from working.
	if (response.ok) await cache.put(key, response.clone()).catch(() => {});
	return response;
}

self.addEventListener('fetch', (event) => {
	const { request } = event;
	if (request.method !== 'GET' || request.headers.has('range')) return;
	const url = new URL(request.url);
	// The page is the same whatever its query names.
	url.search = url.hash = '';
	const key = request.mode === 'navigate' && url.href === new URL('index.html', SCOPE).href ? SCOPE : url.href;
	if (!kept.has(key)) return;
	event.respondWith(key.startsWith(FIXED) ? fixed(request, key) : fresh(request, key));
});
