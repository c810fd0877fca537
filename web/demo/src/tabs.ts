import { element, freshId } from './element';
import { icon, type IconName } from './icon';

/** One tab and what it shows. */
export interface Tab {
	key: string;
	label: string;
	icon?: IconName;
	panel: HTMLElement;
}

/** A tab list with its panels: one of them is shown. Arrow keys, Home and End move between the tabs. */
export class Tabs {
	readonly list: HTMLElement;
	readonly panels: HTMLElement;
	private readonly buttons = new Map<string, HTMLButtonElement>();
	private current = '';

	/** `onshow` is told the key of each tab that becomes visible. */
	constructor(label: string, private readonly tabs: Tab[], private readonly onshow: (key: string) => void = () => {}) {
		this.list = element('div', { role: 'tablist', 'aria-label': label, class: 'tabs' });
		this.panels = element('div', { class: 'panels' });
		for (const tab of tabs) this.add(tab);
		this.list.addEventListener('keydown', (event) => this.move(event));
		const first = tabs[0];
		if (first) this.show(first.key);
	}

	/** Key of the tab that is shown. */
	get shown(): string {
		return this.current;
	}

	/** Shows a tab, and moves the focus to it when asked to. */
	show(key: string, focus = false): void {
		if (!this.buttons.has(key)) return;
		const changed = key !== this.current;
		this.current = key;
		for (const tab of this.tabs) {
			const button = this.buttons.get(tab.key);
			const chosen = tab.key === key;
			button?.setAttribute('aria-selected', String(chosen));
			if (button) button.tabIndex = chosen ? 0 : -1;
			tab.panel.hidden = !chosen;
		}
		if (focus) this.buttons.get(key)?.focus();
		if (changed) this.onshow(key);
	}

	private add(tab: Tab): void {
		const id = freshId('tab');
		const panelId = freshId('panel');
		const button = element(
			'button',
			{ type: 'button', role: 'tab', id, class: 'tab', 'aria-controls': panelId, onclick: () => this.show(tab.key) },
			tab.icon ? icon(tab.icon) : null,
			tab.label,
		);
		tab.panel.id = panelId;
		tab.panel.setAttribute('role', 'tabpanel');
		tab.panel.setAttribute('aria-labelledby', id);
		this.buttons.set(tab.key, button);
		this.list.append(button);
		this.panels.append(tab.panel);
	}

	private move(event: KeyboardEvent): void {
		const keys = this.tabs.map(({ key }) => key);
		const at = keys.indexOf(this.current);
		const to = { ArrowRight: at + 1, ArrowLeft: at - 1 + keys.length, Home: 0, End: keys.length - 1 }[event.key];
		const key = to === undefined ? undefined : keys[to % keys.length];
		if (key === undefined) return;
		event.preventDefault();
		this.show(key, true);
	}
}
