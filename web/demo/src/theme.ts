import { element } from './element';
import { icon, type IconName } from './icon';

type Theme = 'auto' | 'light' | 'dark';

const KEY = 'coreai-demo-theme';
const NEXT: Record<Theme, Theme> = { auto: 'light', light: 'dark', dark: 'auto' };
const SHOWN: Record<Theme, { name: string; icon: IconName }> = {
	auto: { name: 'as the system', icon: 'auto' },
	light: { name: 'light', icon: 'sun' },
	dark: { name: 'dark', icon: 'moon' },
};

function stored(): Theme {
	// Reading storage throws where the browser forbids it.
	try {
		const value = localStorage.getItem(KEY);
		return value === 'light' || value === 'dark' ? value : 'auto';
	} catch {
		return 'auto';
	}
}

function keep(theme: Theme): void {
	try {
		if (theme === 'auto') localStorage.removeItem(KEY);
		else localStorage.setItem(KEY, theme);
	} catch {
		// The choice then lasts as long as the page.
	}
}

/** A button that goes through system, light and dark. The choice is the only thing that this page writes to localStorage. */
export function themeButton(): HTMLButtonElement {
	let theme = stored();
	const button = element('button', { class: 'button quiet round', type: 'button' });
	const show = () => {
		document.documentElement.dataset['theme'] = theme;
		const label = `Colours: ${SHOWN[theme].name}. Change to ${SHOWN[NEXT[theme]].name}`;
		button.setAttribute('aria-label', label);
		button.title = label;
		button.replaceChildren(icon(SHOWN[theme].icon));
	};
	button.addEventListener('click', () => {
		theme = NEXT[theme];
		keep(theme);
		show();
	});
	show();
	return button;
}
