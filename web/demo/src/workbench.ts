import { ChatView } from './chat';
import { element } from './element';
import { icon } from './icon';
import { FunctionsView } from './functions';
import type { Loaded } from './loader';
import { Tabs, type Tab } from './tabs';

/** A model that is ready, and the tabs to use it with. */
export class Workbench {
	readonly node: HTMLElement;
	private readonly tabs: Tabs;
	private readonly chat: ChatView | null;
	private functions: FunctionsView | null = null;

	/** `onleave` is called when another model is wanted. */
	constructor(private readonly loaded: Loaded, onleave: () => void) {
		const { model, language, name } = loaded;
		this.chat = language ? new ChatView(loaded) : null;
		const none = element('div', { class: 'placeholder' }, element('p', {}, 'This asset is no language bundle, so there is nobody to talk to. Its functions are in the other tab.'));
		const empty = element('div', { class: 'placeholder' }, element('p', {}, 'This asset has no functions.'));
		const chatPanel = element('div', { class: 'panel' }, this.chat?.node ?? none);
		const functionsPanel = element('div', { class: 'panel' });
		const tabs: Tab[] = [
			{ key: 'chat', label: 'Chat', icon: 'chat', panel: chatPanel },
			{ key: 'functions', label: 'Functions', icon: 'function', panel: functionsPanel },
		];
		// Forms of many inputs take a while to make: not before they are looked at.
		this.tabs = new Tabs('Ways to use the model', tabs, (key) => {
			if (key !== 'functions' || functionsPanel.hasChildNodes()) return;
			this.functions = model.functions.length ? new FunctionsView(loaded) : null;
			functionsPanel.append(this.functions?.node ?? empty);
		});
		if (!this.chat) this.tabs.show('functions');
		const unit = model.computeUnit === 'gpu' ? (model.adapter?.software ? 'GPU (software)' : 'GPU') : 'CPU';
		this.node = element(
			'div',
			{ class: 'workbench' },
			element(
				'div',
				{ class: 'model-bar' },
				element('h1', { class: 'model-name', title: name }, name),
				element('span', { class: 'tag', 'data-unit': model.computeUnit }, unit),
				this.tabs.list,
				element('button', { type: 'button', class: 'button leave', onclick: onleave }, icon('swap'), 'Other model'),
			),
			this.tabs.panels,
		);
	}

	/** Puts the cursor where work starts. */
	focus(): void {
		if (this.chat) this.chat.focus();
		else this.tabs.show(this.tabs.shown, true);
	}

	/** Ends what runs in the tab that is shown. */
	cancel(): void {
		if (this.tabs.shown === 'chat') this.chat?.cancel();
		else this.functions?.cancel();
	}

	/** Ends what runs and gives the model's memory back. */
	async close(): Promise<void> {
		this.chat?.cancel();
		this.functions?.cancel();
		await Promise.all([this.chat?.settled(), this.functions?.settled()]);
		this.loaded.dispose();
	}
}
