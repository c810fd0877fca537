import { adapterNote } from './adapter-note';
import { element } from './element';
import { icon, type IconName } from './icon';
import { LoadSettingsForm } from './load-settings';
import { bytes } from './quantity';
import { choiceOfDrop, choiceOfFolder, choiceOfUrl, type Choice, type Kind } from './source';
import { StoredView } from './stored';

/** One entry of `samples.json`. */
interface Sample {
	title: string;
	about: string;
	kind: Exclude<Kind, 'unknown'>;
	featured: boolean;
	icon?: IconName;
	/** Relative to the page. */
	url: string;
	bytes: number;
}

/** Makes a choice, later and under a signal: an address is looked at first. */
export type Chosen = (signal: AbortSignal) => Promise<Choice>;

/** Where a model is chosen: samples, a folder, an address, what is stored. */
export class Chooser {
	readonly node: HTMLElement;
	readonly settings = new LoadSettingsForm();
	readonly stored: StoredView;
	private readonly cards = element('div', { class: 'cards' });
	private readonly chips = element('div', { class: 'chips' });
	private readonly samples = element('section', { 'aria-labelledby': 'samples-title', hidden: true });

	/** `onchoose` is told what to load and its name. */
	constructor(private readonly onchoose: (chosen: Chosen, name: string) => void) {
		this.stored = new StoredView((url) => this.openUrl(url));
		this.samples.append(element('h2', { id: 'samples-title' }, 'Samples'), this.cards, this.chips);
		this.node = element(
			'div',
			{ class: 'chooser' },
			element(
				'div',
				{ class: 'hero' },
				element('h1', { id: 'choose-title' }, 'Core AI models, in this page'),
				element('p', { class: 'lead' }, 'Open an .aimodel as Apple’s tools write it. It runs here, on your GPU or processor; nothing leaves this machine.'),
				adapterNote(),
			),
			this.samples,
			element('section', { class: 'own', 'aria-labelledby': 'own-title' }, element('h2', { id: 'own-title' }, 'Your own'), this.dropArea(), this.urlForm()),
			this.settings.node,
			this.stored.node,
		);
		this.watchDrops();
	}

	/** Loads the list of samples; a page without any has no such list. */
	async fill(): Promise<void> {
		const response = await fetch(new URL('samples.json', document.baseURI)).catch(() => null);
		const list = response?.ok ? ((await response.json().catch(() => null)) as { samples: Sample[] } | null) : null;
		for (const sample of list?.samples ?? []) (sample.featured ? this.cards : this.chips).append(this.card(sample));
		this.samples.hidden = !list?.samples.length;
		this.chips.hidden = !this.chips.childElementCount;
	}

	/** Opens an address, as if it had been typed. */
	openUrl(url: string): void {
		this.onchoose((signal) => choiceOfUrl(url, signal), url.replace(/\/+$/, '').split('/').at(-1) ?? url);
	}

	private card(sample: Sample): HTMLElement {
		const { title, about, kind, featured, url, bytes: size } = sample;
		const source = new URL(url, document.baseURI).href;
		const onclick = () => this.onchoose(() => Promise.resolve({ source, name: title, kind }), title);
		const picture = icon(sample.icon ?? (kind === 'language' ? 'chat' : 'function'));
		if (!featured) return element('button', { type: 'button', class: 'chip', title: `${about}, ${bytes(size)}`, 'data-sample': url, onclick }, picture, title);
		return element(
			'button',
			{ type: 'button', class: 'card sample', 'data-kind': kind, 'data-sample': url, onclick },
			element('span', { class: 'sample-head' }, element('span', { class: 'sample-icon' }, picture), element('span', { class: 'sample-title' }, title)),
			element('span', { class: 'sample-about' }, about),
			element('span', { class: 'sample-foot' }, element('span', { class: 'tag' }, kind === 'language' ? 'Chat' : 'Functions'), bytes(size)),
		);
	}

	private dropArea(): HTMLElement {
		const input = element('input', { type: 'file', webkitdirectory: true, hidden: true, 'aria-hidden': 'true', tabindex: -1 });
		input.addEventListener('change', () => {
			const { files } = input;
			if (files?.length) this.chooseNow(choiceOfFolder(files), 'the folder');
			input.value = '';
		});
		return element(
			'div',
			{ class: 'drop' },
			icon('folder'),
			element('p', {}, element('strong', {}, 'Drop an .aimodel or a bundle folder'), element('span', { class: 'muted' }, ' anywhere on this page')),
			element('button', { type: 'button', class: 'button', onclick: () => input.click() }, 'Choose a folder…'),
			input,
		);
	}

	private urlForm(): HTMLElement {
		const input = element('input', {
			type: 'text', inputmode: 'url', class: 'field grow', placeholder: 'https://…/model.aimodel', 'aria-label': 'Address of a model',
			autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', required: true,
		});
		const onsubmit = (event: SubmitEvent) => {
			event.preventDefault();
			this.openUrl(input.value);
		};
		return element('form', { class: 'url row', onsubmit }, icon('link'), input, element('button', { class: 'button' }, 'Load'));
	}

	private watchDrops(): void {
		let inside = 0;
		const mark = (change: number) => {
			inside = Math.max(0, inside + change);
			document.body.classList.toggle('dropping', inside > 0);
		};
		const holdsFiles = (event: DragEvent) => event.dataTransfer?.types.includes('Files') ?? false;
		const taken = (event: DragEvent) => event.target instanceof Element && event.target.closest('[data-drops]') !== null;
		addEventListener('dragenter', (event) => holdsFiles(event) && mark(1));
		addEventListener('dragleave', (event) => holdsFiles(event) && mark(-1));
		addEventListener('dragover', (event) => holdsFiles(event) && event.preventDefault());
		addEventListener('drop', (event) => {
			mark(-inside);
			if (!event.dataTransfer || !holdsFiles(event) || taken(event)) return;
			event.preventDefault();
			this.chooseNow(choiceOfDrop(event.dataTransfer), event.dataTransfer.files[0]?.name ?? 'the folder');
		});
	}

	// Files are read at once: a drop is empty after its event.
	private chooseNow(choice: Promise<Choice>, name: string): void {
		// Its error is told when the choice is waited for.
		choice.catch(() => {});
		this.onchoose(() => choice, name);
	}
}
