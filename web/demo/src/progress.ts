import type { LoadProgress } from 'coreai-web';
import { element } from './element';
import { bytes, timeLeft } from './quantity';

const PHASES: [LoadProgress['phase'], string][] = [
	['download', 'Read'],
	['verify', 'Check'],
	['prepare', 'Prepare'],
];
// Screen readers are told each of these steps, not every chunk.
const SPOKEN_STEP = 0.25;

/** What is shown while a model loads. */
export class ProgressView {
	readonly node: HTMLElement;
	private readonly title = element('h2', { class: 'progress-title', tabindex: -1 });
	private readonly stored = element('span', { class: 'progress-stored' });
	private readonly fresh = element('span', { class: 'progress-fresh' });
	private readonly bar: HTMLElement;
	private readonly figures = element('p', { class: 'progress-figures' });
	private readonly detail = element('p', { class: 'muted small' });
	private readonly steps = PHASES.map(([, name]) => element('li', {}, name));
	private readonly spoken = element('p', { class: 'unseen', role: 'status' });
	private told = '';

	constructor(oncancel: () => void) {
		this.bar = element(
			'div',
			{ class: 'progress-bar', role: 'progressbar', 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-label': 'Loading' },
			this.stored,
			this.fresh,
		);
		this.node = element(
			'section',
			{ class: 'card progress', 'aria-label': 'Loading' },
			element(
				'div',
				{ class: 'row spread' },
				this.title,
				element('button', { type: 'button', class: 'button', onclick: oncancel }, 'Cancel'),
			),
			element('ol', { class: 'steps' }, ...this.steps),
			this.bar,
			this.figures,
			this.detail,
			this.spoken,
		);
	}

	/** Shows that a model is looked at, and takes the focus. */
	start(name: string): void {
		this.title.textContent = `Loading ${name}`;
		this.figures.textContent = 'Looking at the files…';
		this.detail.textContent = '';
		this.told = '';
		this.bar.removeAttribute('aria-valuenow');
		this.bar.dataset['phase'] = 'start';
		this.stored.style.inlineSize = this.fresh.style.inlineSize = '0';
		this.mark(-1);
		this.title.focus({ preventScroll: true });
	}

	/** Shows how far a model is. */
	show(progress: LoadProgress): void {
		const { phase, loaded, total, fromStorage, bytesPerSecond, secondsLeft, file } = progress;
		const share = total ? Math.min(1, loaded / total) : 0;
		const storedShare = total ? Math.min(share, fromStorage / total) : 0;
		this.bar.dataset['phase'] = phase;
		this.bar.setAttribute('aria-valuenow', String(Math.round(share * 100)));
		this.stored.style.inlineSize = `${storedShare * 100}%`;
		this.fresh.style.inlineSize = `${(share - storedShare) * 100}%`;
		const at = PHASES.findIndex(([name]) => name === phase);
		this.mark(phase === 'ready' ? PHASES.length : at);
		const parts = [`${bytes(loaded)} of ${bytes(total)}`];
		if (phase === 'download' && bytesPerSecond > 0) parts.push(`${bytes(bytesPerSecond)}/s`);
		if (phase === 'download' && secondsLeft !== null && loaded < total) parts.push(timeLeft(secondsLeft));
		if (phase === 'prepare') parts.push('making kernels');
		this.figures.textContent = parts.join(' · ');
		const from = fromStorage > 0 ? `${bytes(fromStorage)} from this browser’s storage` : '';
		this.detail.textContent = [from, file].filter(Boolean).join(' · ');
		const words = phase === 'download' ? `${Math.floor(share / SPOKEN_STEP) * SPOKEN_STEP * 100}% read` : (PHASES[at]?.[1] ?? 'Ready');
		if (words === this.told) return;
		this.told = words;
		this.spoken.textContent = words;
	}

	private mark(at: number): void {
		this.steps.forEach((step, i) => {
			step.className = i < at ? 'done' : i === at ? 'now' : '';
			if (i === at) step.setAttribute('aria-current', 'step');
			else step.removeAttribute('aria-current');
		});
	}
}
