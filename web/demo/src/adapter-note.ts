import { element } from './element';
import { icon } from './icon';

// What is used of WebGPU's types, so that the page needs none of them.
interface Gpu {
	requestAdapter(): Promise<{ info: { vendor: string; architecture: string; description: string; isFallbackAdapter?: boolean } } | null>;
}

async function words(): Promise<{ text: string; found: boolean }> {
	const { gpu } = navigator as { gpu?: Gpu };
	if (!gpu) return { text: 'This browser has no WebGPU here: models run on the processor', found: false };
	const adapter = await gpu.requestAdapter().catch(() => null);
	if (!adapter) return { text: 'WebGPU finds no adapter: models run on the processor', found: false };
	const { vendor, architecture, description, isFallbackAdapter } = adapter.info;
	const name = description || [vendor, architecture].filter(Boolean).join(' ') || 'an unnamed adapter';
	if (isFallbackAdapter) return { text: `WebGPU on the processor only (${name}): used when software adapters are allowed`, found: false };
	return { text: `WebGPU is ready: ${name}`, found: true };
}

/** One line that tells whether there is a GPU to run on. */
export function adapterNote(): HTMLElement {
	const node = element('p', { class: 'adapter-note', role: 'status' });
	void words().then(({ text, found }) => {
		node.dataset['found'] = String(found);
		node.append(icon('gpu'), text);
	});
	return node;
}
