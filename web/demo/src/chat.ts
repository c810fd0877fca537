import type { ChatMessage, Turn } from 'coreai-web/language';
import { element } from './element';
import { icon } from './icon';
import type { Loaded } from './loader';
import { MachineView } from './machine';
import { Answer, question } from './message';
import { isCancel, problemPanel } from './problem';
import { duration } from './quantity';
import { SamplingForm } from './sampling';

const STARTERS = [
	'Name three rivers of Europe and one thing each is known for.',
	'Explain what a hash table is to a ten-year-old.',
	'Write a short poem about the sea.',
];
const REASONS: Record<Turn['stopReason'], string> = {
	end_of_turn: '',
	stop_string: 'stopped at a stop text',
	max_tokens: 'longest answer reached',
	context_full: 'the context is full',
	cancelled: 'stopped',
};
// The log follows its end unless somebody scrolled up by more than this, in pixels.
const FOLLOW = 80;

/** The conversation with a language model. */
export class ChatView {
	readonly node: HTMLElement;
	private readonly language: NonNullable<Loaded['language']>;
	private readonly messages: ChatMessage[] = [];
	private readonly sampling = new SamplingForm();
	private readonly machine: MachineView;
	private readonly log = element('div', { class: 'log', role: 'log', 'aria-label': 'Conversation', tabindex: 0 });
	private readonly empty: HTMLElement;
	private readonly trouble = element('div');
	private readonly input = element('textarea', { class: 'composer-input', rows: 1, placeholder: 'Write a message', 'aria-label': 'Message', enterkeyhint: 'send' });
	private readonly send = element('button', { type: 'submit', class: 'button primary round', 'aria-label': 'Send', title: 'Send (Enter)' }, icon('send'));
	private readonly stop = element('button', { type: 'button', class: 'button round', 'aria-label': 'Stop', title: 'Stop (Escape)', hidden: true }, icon('stop'));
	private readonly fresh = element('button', { type: 'button', class: 'button quiet small' }, icon('plus'), 'New conversation');
	private readonly said = element('p', { class: 'unseen', role: 'status' });
	private running: AbortController | null = null;
	private last = Promise.resolve();
	private conversation = 0;

	constructor(loaded: Loaded) {
		if (!loaded.language) throw new TypeError(`${loaded.name} is not a language model`);
		this.language = loaded.language;
		this.machine = new MachineView(loaded);
		this.empty = this.starters();
		const side = element(
			'aside',
			{ class: 'side', 'aria-label': 'Settings and figures' },
			element('section', { class: 'card' }, element('h3', {}, 'Sampling'), this.sampling.node),
			element('section', { class: 'card' }, element('h3', {}, 'Machine'), this.machine.node),
		);
		const toggle = element('button', { type: 'button', class: 'button quiet small side-toggle', 'aria-expanded': 'false' }, icon('sliders'), 'Settings');
		toggle.addEventListener('click', () => {
			const open = side.classList.toggle('open');
			toggle.setAttribute('aria-expanded', String(open));
		});
		const form = element(
			'form',
			{ class: 'composer', onsubmit: (event: SubmitEvent) => { event.preventDefault(); this.submit(); } },
			this.input,
			this.stop,
			this.send,
		);
		this.log.append(this.empty);
		this.node = element(
			'div',
			{ class: 'chat' },
			element(
				'div',
				{ class: 'chat-main' },
				element('div', { class: 'row spread chat-tools' }, this.fresh, toggle),
				this.log,
				this.trouble,
				form,
				element('p', { class: 'muted small hint' }, 'Enter sends, Shift+Enter starts a line, Escape stops. Small models are often wrong.'),
				this.said,
			),
			side,
		);
		this.listen();
		void this.machine.refresh();
	}

	/** Puts the cursor where a message is written. */
	focus(): void {
		this.input.focus({ preventScroll: true });
	}

	/** Ends what is running. */
	cancel(): void {
		this.running?.abort();
	}

	/** Resolves when nothing runs any more. */
	settled(): Promise<void> {
		return this.last;
	}

	private starters(): HTMLElement {
		const buttons = STARTERS.map((text) => element('button', { type: 'button', class: 'starter', onclick: () => this.ask(text) }, text));
		return element('div', { class: 'empty' }, element('p', { class: 'empty-title' }, 'Say something'), element('div', { class: 'starters' }, ...buttons));
	}

	private listen(): void {
		this.input.addEventListener('input', () => this.fit());
		this.input.addEventListener('keydown', (event) => {
			// An input method's Enter ends its own composition.
			if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
			event.preventDefault();
			this.submit();
		});
		this.stop.addEventListener('click', () => this.cancel());
		this.fresh.addEventListener('click', () => this.reset());
	}

	private fit(): void {
		this.input.style.blockSize = 'auto';
		this.input.style.blockSize = `${this.input.scrollHeight}px`;
	}

	private submit(): void {
		const text = this.input.value.trim();
		if (!text || this.running) return;
		this.input.value = '';
		this.fit();
		this.ask(text);
	}

	private reset(): void {
		this.cancel();
		this.messages.length = 0;
		this.conversation += 1;
		this.trouble.replaceChildren();
		this.log.replaceChildren(this.empty);
		this.said.textContent = 'New conversation';
		this.focus();
	}

	private ask(text: string): void {
		if (this.running) return;
		this.empty.remove();
		this.trouble.replaceChildren();
		this.messages.push({ role: 'user', content: text });
		this.log.append(question(text));
		this.last = this.answer();
	}

	private async answer(): Promise<void> {
		const running = new AbortController();
		const answer = new Answer();
		this.busy(running);
		this.log.append(answer.node);
		this.follow(true);
		const { conversation } = this;
		const start = performance.now();
		let first = 0;
		let tokens = 0;
		const rate = () => (tokens > 1 && performance.now() > first ? ((tokens - 1) * 1000) / (performance.now() - first) : 0);
		const figures = (perSecond: number) => [
			`${tokens} ${tokens === 1 ? 'token' : 'tokens'}`,
			...(perSecond ? [`${perSecond.toFixed(perSecond < 10 ? 2 : 1)} tokens/s`] : []),
			...(first ? [`first after ${duration((first - start) / 1000)}`] : []),
		];
		try {
			const stream = this.language.chat(this.messages, { ...this.sampling.value(), signal: running.signal });
			// The loop below tells of the same error.
			stream.turn.catch(() => {});
			for await (const part of stream) {
				first ||= performance.now();
				tokens = part.tokens;
				answer.add(part.text, () => this.follow(false));
				answer.tell(figures(rate()).join(' · '));
			}
			const { figures: measured, stopReason } = await stream.turn;
			tokens = measured.generatedTokens;
			const prompt = `${measured.promptTokens} prompt tokens${measured.reusedTokens ? `, ${measured.reusedTokens} from the cache` : ''}`;
			const reason = REASONS[stopReason];
			answer.end([...figures(measured.tokensPerSecond ?? 0), prompt, ...(reason ? [reason] : [])], stopReason === 'cancelled');
		} catch (error) {
			const stopped = isCancel(error);
			answer.end([...figures(rate()), stopped ? 'stopped' : 'broken off'], stopped);
			if (!answer.text && !stopped) answer.node.remove();
			if (stopped) this.said.textContent = 'Stopped';
			else this.fail(error);
		} finally {
			this.idle(running);
		}
		// A conversation that was started anew has no place for this answer.
		if (this.conversation !== conversation) return;
		if (answer.text) this.messages.push({ role: 'assistant', content: answer.text });
		else this.input.value ||= this.messages.pop()?.content ?? '';
		this.fit();
		this.follow(false);
		await this.machine.refresh();
	}

	private fail(error: unknown): void {
		const panel = problemPanel(error, () => this.trouble.replaceChildren());
		this.trouble.replaceChildren(panel);
	}

	private busy(running: AbortController): void {
		this.running = running;
		this.send.hidden = true;
		this.stop.hidden = false;
	}

	private idle(running: AbortController): void {
		if (this.running !== running) return;
		this.running = null;
		const focused = document.activeElement === this.stop;
		this.send.hidden = false;
		this.stop.hidden = true;
		if (focused) this.focus();
	}

	private follow(always: boolean): void {
		const { scrollHeight, scrollTop, clientHeight } = this.log;
		if (always || scrollHeight - scrollTop - clientHeight < FOLLOW) this.log.scrollTop = scrollHeight;
	}
}
