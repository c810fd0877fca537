import type { ChatOptions } from 'coreai-web/language';
import { numberField, slider } from './controls';
import { element } from './element';

/** How the next token is drawn. */
export class SamplingForm {
	readonly node: HTMLElement;
	private readonly temperature = slider('Temperature', 0.7, { min: 0, max: 2, step: 0.05 }, (value) => (value ? value.toFixed(2) : '0, the likeliest'));
	private readonly topP = slider('Top-p', 0.95, { min: 0.05, max: 1, step: 0.01 }, (value) => (value < 1 ? value.toFixed(2) : 'off'));
	private readonly maxTokens = numberField('Longest answer, tokens', 512, { min: 1, max: 32768, step: 1 });
	private readonly seed = numberField('Seed', '', { min: 0, max: 2 ** 32 - 1, step: 1 }, { placeholder: 'a new one each time' });

	constructor() {
		this.node = element('div', { class: 'stack' }, this.temperature.node, this.topP.node, this.maxTokens.node, this.seed.node);
	}

	/** What is set now; values out of their range are taken to its ends. */
	value(): Pick<ChatOptions, 'temperature' | 'topP' | 'maxTokens' | 'seed'> {
		const topP = this.topP.value();
		const seed = this.seed.value();
		return {
			temperature: this.temperature.value(),
			maxTokens: Math.max(1, Math.round(this.maxTokens.value() ?? 512)),
			...(topP < 1 ? { topP } : {}),
			seed: seed === null ? crypto.getRandomValues(new Uint32Array(1))[0] : Math.min(2 ** 32 - 1, Math.max(0, Math.round(seed))),
		};
	}
}
