import type { CoreModule } from './raw.js';

/** Bytes as hexadecimal digits. */
export const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** SHA-256 as hexadecimal digits: the browser's, which works beside this thread; the module's where the page is not secure. */
export async function sha256(bytes: Uint8Array, module: CoreModule): Promise<string> {
	if (globalThis.crypto?.subtle) return hex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>)));
	const hash = new module.Sha256();
	try {
		hash.update(bytes);
		return hex(hash.digest());
	} finally {
		hash.free();
	}
}
