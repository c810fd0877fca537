/** What a child of an element may be; null and false are left out. */
export type Child = Node | string | null | undefined | false;

/** Attributes (`class`, `aria-label`, …), properties of boolean kind (`disabled`, `hidden`), and listeners (`onclick`). */
export type Attributes = Record<string, string | number | boolean | null | undefined | ((event: never) => void)>;

function apply(node: Element, attributes: Attributes): void {
	for (const [name, value] of Object.entries(attributes)) {
		if (value === null || value === undefined || value === false) continue;
		if (typeof value === 'function') node.addEventListener(name.slice(2), value as EventListener);
		else node.setAttribute(name, value === true ? '' : String(value));
	}
}

/**
 * Makes an HTML element. Text is always text: nothing here reads markup.
 * @example element('button', { class: 'button', onclick: () => send() }, 'Send')
 */
export function element<K extends keyof HTMLElementTagNameMap>(
	tag: K,
	attributes: Attributes = {},
	...children: Child[]
): HTMLElementTagNameMap[K] {
	const node = document.createElement(tag);
	apply(node, attributes);
	for (const child of children) if (child || child === '') node.append(child);
	return node;
}

/** Makes an SVG element. */
export function drawing<K extends keyof SVGElementTagNameMap>(
	tag: K,
	attributes: Attributes = {},
	...children: Child[]
): SVGElementTagNameMap[K] {
	const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
	apply(node, attributes);
	for (const child of children) if (child) node.append(child);
	return node;
}

let made = 0;

/** A name that no other element of the page has, for `id` and `for`. */
export function freshId(stem: string): string {
	made += 1;
	return `${stem}-${made}`;
}
