import { element } from './element';
import { icon } from './icon';
import { MarkdownView } from './markdown';

const COPIED_MS = 1600;

/** A button that copies a text and says so. */
export function copyButton(text: () => string): HTMLButtonElement {
	const button = element('button', { type: 'button', class: 'button quiet small', 'aria-label': 'Copy' }, icon('copy'), element('span', { 'aria-live': 'polite' }, 'Copy'));
	const show = (name: 'copy' | 'check', words: string) => {
		button.firstChild?.replaceWith(icon(name));
		if (button.lastChild) button.lastChild.textContent = words;
	};
	button.addEventListener('click', async () => {
		const copied = await navigator.clipboard.writeText(text()).then(() => true, () => false);
		show(copied ? 'check' : 'copy', copied ? 'Copied' : 'The browser refused');
		setTimeout(() => show('copy', 'Copy'), COPIED_MS);
	});
	return button;
}

/** What a person wrote. */
export function question(text: string): HTMLElement {
	return element('article', { class: 'message user', 'aria-label': 'You' }, element('p', {}, text));
}

/** An answer that grows. */
export class Answer {
	readonly node = element('article', { class: 'message assistant', 'aria-label': 'Answer', 'aria-busy': 'true' });
	text = '';
	private readonly body = new MarkdownView();
	private readonly foot = element('footer', { class: 'message-foot' });
	private frame = 0;

	constructor() {
		this.node.append(element('p', { class: 'thinking' }, element('span', { class: 'unseen' }, 'Reading the prompt')), this.body.node, this.foot);
	}

	/** Adds text; it is drawn with the next frame. */
	add(piece: string, ondraw: () => void): void {
		this.text += piece;
		// A hidden tab has no frames: its text is drawn when it is seen again.
		this.frame ||= requestAnimationFrame(() => {
			this.frame = 0;
			this.draw();
			ondraw();
		});
	}

	/** The figures so far. */
	tell(figures: string): void {
		this.foot.textContent = figures;
	}

	/** No more text comes. `ended` says why. */
	end(figures: string[], stopped: boolean): void {
		cancelAnimationFrame(this.frame);
		this.draw();
		this.node.setAttribute('aria-busy', 'false');
		this.node.querySelector('.thinking')?.remove();
		if (stopped) this.node.dataset['stopped'] = '';
		this.foot.replaceChildren(...figures.map((figure) => element('span', {}, figure)), ...(this.text ? [copyButton(() => this.text)] : []));
	}

	private draw(): void {
		if (this.text) this.node.querySelector('.thinking')?.remove();
		this.body.show(this.text);
	}
}
