import { storage, type StoredModel } from 'coreai-web';
import { element } from './element';
import { icon } from './icon';
import { problemPanel } from './problem';
import { ago, bytes } from './quantity';
import { nameOf, readable } from './source';

/** The models that this browser keeps, each with a button that deletes it. */
export class StoredView {
	readonly node = element('section', { class: 'stored', 'aria-labelledby': 'stored-title', hidden: true });
	private readonly rows = element('ul', { class: 'stored-list' });
	private readonly sum = element('p', { class: 'muted small' });
	private readonly trouble = element('div');
	private readonly said = element('p', { class: 'unseen', role: 'status' });

	/** `onopen` is told the address of a model to load. */
	constructor(private readonly onopen: (url: string) => void) {
		this.node.append(
			element('div', { class: 'row spread' }, element('h2', { id: 'stored-title', tabindex: -1 }, 'Stored in this browser'), this.sum),
			this.trouble,
			this.rows,
			this.said,
		);
	}

	/** Looks again at what is stored. */
	async refresh(): Promise<void> {
		try {
			const [models, { usage, quota }] = await Promise.all([storage.list(), storage.estimate()]);
			models.sort((a, b) => Number(b.lastUsed) - Number(a.lastUsed));
			this.rows.replaceChildren(...models.map((model) => this.row(model)));
			const used = models.reduce((sum, model) => sum + model.bytes, 0);
			this.sum.textContent = quota ? `${bytes(used || usage || 0)} used, ${bytes(quota - (usage ?? 0))} free` : `${bytes(used)} used`;
			this.node.hidden = models.length === 0;
		} catch (error) {
			this.node.hidden = false;
			this.tell(error);
		}
	}

	private tell(error: unknown): void {
		this.trouble.replaceChildren(problemPanel(error, () => this.trouble.replaceChildren()));
	}

	private row({ url, bytes: size, complete, lastUsed }: StoredModel): HTMLElement {
		const name = nameOf(readable(new URL(url, document.baseURI).pathname));
		const state = complete ? '' : ' · incomplete, goes on where it stopped';
		return element(
			'li',
			{},
			element(
				'button',
				{ type: 'button', class: 'stored-open', title: url, onclick: () => this.onopen(url) },
				element('span', { class: 'stored-name' }, name),
				element('span', { class: 'muted small' }, `${bytes(size)} · used ${ago(Number(lastUsed))}${state}`),
			),
			element(
				'button',
				{ type: 'button', class: 'button quiet round', 'aria-label': `Delete ${name} from storage`, title: 'Delete', onclick: () => void this.remove(url, name) },
				icon('trash'),
			),
		);
	}

	private async remove(url: string, name: string): Promise<void> {
		try {
			await storage.delete(url);
			await this.refresh();
			this.said.textContent = `${name} was deleted`;
			// The button that had the focus is gone.
			const next = this.rows.querySelector('button') ?? this.node.querySelector('h2');
			if (!this.node.hidden) next?.focus();
		} catch (error) {
			this.tell(error);
		}
	}
}
