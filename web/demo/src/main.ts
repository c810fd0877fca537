import { Chooser, type Chosen } from './chooser';
import { element } from './element';
import { load } from './loader';
import { keepOffline } from './offline';
import { isCancel, problemPanel } from './problem';
import { ProgressView } from './progress';
import { themeButton } from './theme';
import { Workbench } from './workbench';

const bar = document.getElementById('bar') as HTMLElement;
const main = document.getElementById('main') as HTMLElement;

const chooser = new Chooser((chosen, name) => void open(chosen, name));
const progress = new ProgressView(() => loading?.abort());
const trouble = element('div', { class: 'trouble' });
const said = element('p', { class: 'unseen', role: 'status' });
const offline = keepOffline();
let loading: AbortController | null = null;
let workbench: Workbench | null = null;
// Whether focus goes to what was pressed before a load that did not end well.
let pressed: Element | null = null;

function show(view: HTMLElement): void {
	main.replaceChildren(trouble, view, said);
	main.dataset['view'] = view === chooser.node ? 'choose' : view === progress.node ? 'load' : 'work';
	scrollTo({ top: 0 });
}

function choose(): void {
	document.title = 'Core AI in the browser';
	show(chooser.node);
	void chooser.stored.refresh();
}

/** Loads a model and shows it; a load that still runs is cancelled. */
async function open(chosen: Chosen, name: string): Promise<void> {
	loading?.abort();
	const mine = new AbortController();
	loading = mine;
	pressed = document.activeElement;
	trouble.replaceChildren();
	await workbench?.close();
	workbench = null;
	if (loading !== mine) return;
	show(progress.node);
	progress.start(name);
	try {
		await offline;
		const choice = await chosen(mine.signal);
		const loaded = await load(choice, chooser.settings.value(), (state) => loading === mine && progress.show(state), mine.signal);
		// A model that came too late has no place to be shown.
		if (loading !== mine) {
			loaded.dispose();
			return;
		}
		workbench = new Workbench(loaded, () => void leave());
		document.title = `${loaded.name} · Core AI`;
		show(workbench.node);
		said.textContent = `${loaded.name} is ready`;
		workbench.focus();
	} catch (error) {
		if (loading !== mine) return;
		choose();
		if (isCancel(error)) {
			said.textContent = 'Loading was cancelled';
			if (pressed instanceof HTMLElement && pressed.isConnected) pressed.focus();
		} else {
			const panel = problemPanel(error, () => trouble.replaceChildren(), () => void open(chosen, name));
			trouble.replaceChildren(panel);
			panel.focus();
		}
	} finally {
		if (loading === mine) loading = null;
	}
}

async function leave(): Promise<void> {
	const closing = workbench;
	workbench = null;
	choose();
	main.focus({ preventScroll: true });
	await closing?.close();
}

addEventListener('keydown', (event) => {
	if (event.key !== 'Escape' || event.isComposing) return;
	loading?.abort();
	workbench?.cancel();
});

bar.append(
	element('a', { class: 'brand', href: './' }, element('img', { src: './icon.svg', alt: '', width: 24, height: 24 }), 'Core AI', element('span', { class: 'muted' }, 'in the browser')),
	themeButton(),
);
choose();
const query = new URLSearchParams(location.search);
chooser.settings.read(query);
await chooser.fill();
const wanted = query.get('model');
if (wanted) chooser.openUrl(wanted);
