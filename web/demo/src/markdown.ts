import { element } from './element';

type Block =
	| { kind: 'code'; language: string; text: string; source: string }
	| { kind: 'heading' | 'paragraph'; text: string; source: string }
	| { kind: 'list'; ordered: boolean; start: number; items: string[]; source: string };

const FENCE = /^\s*(?:```|~~~)\s*([\w+#.-]*)\s*$/;
const HEADING = /^#{1,6}\s+(.*)$/;
const ITEM = /^\s{0,8}(?:([-*+•])|(\d{1,9})[.)])\s+(.*)$/;

// A fence that is not closed yet runs to the end: text is still coming in.
function blocksOf(text: string): Block[] {
	const lines = text.replace(/\r\n?/g, '\n').split('\n');
	const blocks: Block[] = [];
	let at = 0;
	while (at < lines.length) {
		const from = at;
		const line = lines[at] ?? '';
		const source = () => lines.slice(from, at).join('\n');
		const fence = FENCE.exec(line);
		const heading = HEADING.exec(line);
		const item = ITEM.exec(line);
		at += 1;
		if (!line.trim()) continue;
		if (fence) {
			while (at < lines.length && !/^\s*(?:```|~~~)\s*$/.test(lines[at] ?? '')) at += 1;
			const code = lines.slice(from + 1, at).join('\n');
			at += 1;
			blocks.push({ kind: 'code', language: fence[1] ?? '', text: code, source: source() });
		} else if (heading) {
			blocks.push({ kind: 'heading', text: heading[1] ?? '', source: source() });
		} else if (item) {
			const ordered = item[2] !== undefined;
			const items = [item[3] ?? ''];
			for (; at < lines.length; at += 1) {
				const next = ITEM.exec(lines[at] ?? '');
				if (next && (next[2] !== undefined) === ordered) items.push(next[3] ?? '');
				else if (next || !/^\s{2,}\S/.test(lines[at] ?? '')) {
					// One empty line between two items does not end the list.
					const later = ITEM.exec(lines[at + 1] ?? '');
					if ((lines[at] ?? '').trim() || !later || (later[2] !== undefined) !== ordered) break;
				} else items.push(`${items.pop() ?? ''}\n${(lines[at] ?? '').trim()}`);
			}
			blocks.push({ kind: 'list', ordered, start: Number(item[2] ?? 1), items, source: source() });
		} else {
			const ends = (next: string) => !next.trim() || FENCE.test(next) || HEADING.test(next) || ITEM.test(next);
			while (at < lines.length && !ends(lines[at] ?? '')) at += 1;
			blocks.push({ kind: 'paragraph', text: source(), source: source() });
		}
	}
	return blocks;
}

// Code spans, then bold, then italics; a star or underscore inside of a word is itself.
const INLINE = /`([^`\n]+)`|\*\*(?=\S)([^\n]*?\S)\*\*|__(?=\S)([^\n]*?\S)__(?!\w)|\*(?=[^\s*])([^*\n]*[^\s*])\*(?![\w*])/;

function inline(text: string): (Node | string)[] {
	const nodes: (Node | string)[] = [];
	let rest = text;
	for (let match = INLINE.exec(rest); match; match = INLINE.exec(rest)) {
		const [whole, code, stars, lines, italic] = match;
		if (match.index) nodes.push(rest.slice(0, match.index));
		if (code !== undefined) nodes.push(element('code', {}, code));
		else if (italic !== undefined) nodes.push(element('em', {}, ...inline(italic)));
		else nodes.push(element('strong', {}, ...inline(stars ?? lines ?? '')));
		rest = rest.slice(match.index + whole.length);
	}
	if (rest) nodes.push(rest);
	return nodes;
}

function nodeOf(block: Block): HTMLElement {
	switch (block.kind) {
		case 'code':
			// Code may be wider than the page; the focus lets arrow keys scroll it.
			return element(
				'pre',
				{ tabindex: 0, 'data-language': block.language || null, 'aria-label': `Code ${block.language}`.trim() },
				element('code', {}, block.text),
			);
		case 'heading':
			return element('p', { class: 'heading' }, ...inline(block.text));
		case 'list': {
			const items = block.items.map((item) => element('li', {}, ...inline(item)));
			return block.ordered ? element('ol', { start: block.start }, ...items) : element('ul', {}, ...items);
		}
		case 'paragraph':
			return element('p', {}, ...inline(block.text));
	}
}

/**
 * Text of a model with its code blocks, lists, headings, bold and italics shown. Nothing else of Markdown is read, and
 * everything ends up as text nodes. Text that grows is cheap: only the blocks that changed are made again.
 */
export class MarkdownView {
	readonly node = element('div', { class: 'prose' });
	private sources: string[] = [];

	/** Shows a text. */
	show(text: string): void {
		const blocks = blocksOf(text);
		let same = 0;
		while (same < blocks.length && this.sources[same] === blocks[same]?.source) same += 1;
		while (this.node.childNodes.length > same) this.node.lastChild?.remove();
		this.node.append(...blocks.slice(same).map(nodeOf));
		this.sources = blocks.map(({ source }) => source);
	}
}
