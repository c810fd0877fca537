import type { Connection } from './connection.js';
import { DISPOSE } from './dispose.js';
import { AbortedError } from './errors.js';
import type { ChatMessage, ChatPart, Loaded, SamplingOptions, Turn } from './host.js';
import { AIModel } from './model.js';
import { type LoadOptions, loadWith } from './options.js';
import type { ModelSource } from './source.js';

/** How a language model answers. */
export interface ChatOptions extends SamplingOptions {
	/** Ends the answer; the stream and `turn` reject with an `AbortedError`. */
	signal?: AbortSignal;
}

/**
 * An answer while it is made. Leaving a loop over it early ends the answer; `turn` then has the reason `cancelled`.
 * Parts are kept until they are read, and can be read once.
 */
export interface ChatStream extends AsyncIterable<ChatPart> {
	/** The whole answer. */
	readonly turn: Promise<Turn>;
}

class Answer implements ChatStream {
	readonly turn: Promise<Turn>;
	readonly #left = new AbortController();
	readonly #parts: ChatPart[] = [];
	#more = () => {};
	#ended = false;

	constructor(begin: (emit: (part: ChatPart) => void, left: AbortSignal) => Promise<Turn>) {
		const emit = (part: ChatPart) => {
			this.#parts.push(part);
			this.#more();
		};
		this.turn = begin(emit, this.#left.signal).finally(() => {
			this.#ended = true;
			this.#more();
		});
		// Whoever only reads the parts hears of it there.
		this.turn.catch(() => {});
	}

	async *[Symbol.asyncIterator](): AsyncGenerator<ChatPart, void, void> {
		try {
			for (;;) {
				const part = this.#parts.shift();
				if (part) yield part;
				else if (this.#ended) break;
				else await new Promise<void>((more) => (this.#more = more));
			}
			await this.turn;
		} finally {
			this.#left.abort();
		}
	}
}

/**
 * A language model with its tokenizer and chat template.
 *
 * @example
 * using model = await LanguageModel.load('/models/smollm2/');
 * const answer = model.chat('Name three rivers of Europe.', {maxTokens: 64});
 * for await (const {text} of answer) output.append(text);
 * console.log((await answer.turn).figures.tokensPerSecond);
 */
export class LanguageModel {
	readonly name: string;
	/** Most tokens of a conversation; `null` where the model does not tell. */
	readonly contextLength: number | null;
	/** The program behind it. */
	readonly model: AIModel;
	readonly #connection: Connection;
	readonly #id: number;
	readonly #disposed = new AbortController();

	private constructor(connection: Connection, loaded: Loaded) {
		this.#connection = connection;
		this.#id = loaded.model;
		this.name = loaded.language!.name;
		this.contextLength = loaded.language!.contextLength;
		this.model = new AIModel(connection, loaded);
	}

	/**
	 * Loads a bundle folder, or an asset with a `tokenizer` folder in it or beside it.
	 * @param options `contextLength`: tokens to make room for, at most what the model declares
	 */
	static async load(source: ModelSource, options: LoadOptions & { contextLength?: number } = {}): Promise<LanguageModel> {
		const { loaded, connection } = await loadWith(source, options, { contextLength: options.contextLength });
		return new LanguageModel(connection, loaded);
	}

	/**
	 * Answers a conversation, or one message. What the conversation shares with the one before is not computed again.
	 * Answers are made one after the other.
	 */
	chat(messages: ChatMessage[] | string, options: ChatOptions = {}): ChatStream {
		const { signal, ...sampling } = options;
		const conversation = typeof messages === 'string' ? [{ role: 'user', content: messages }] : messages;
		return new Answer(async (emit, left) => {
			const either = new AbortController();
			const abort = () => either.abort(signal?.reason);
			if (signal?.aborted) throw new AbortedError(signal.reason);
			signal?.addEventListener('abort', abort);
			left.addEventListener('abort', abort);
			this.#disposed.signal.addEventListener('abort', abort);
			try {
				const request = { model: this.#id, messages: conversation, options: sampling };
				const turn = await this.#connection.host.chat(request, { signal: either.signal, emit });
				if (signal?.aborted) throw new AbortedError(signal.reason);
				return turn;
			} finally {
				signal?.removeEventListener('abort', abort);
				this.#disposed.signal.removeEventListener('abort', abort);
			}
		});
	}

	/** Token ids of a text, without special tokens. */
	encode(text: string): Promise<Uint32Array> {
		return this.#connection.host.encode({ model: this.#id, text });
	}

	/** Text of token ids. */
	decode(ids: Uint32Array | readonly number[]): Promise<string> {
		return this.#connection.host.decode({ model: this.#id, ids: Uint32Array.from(ids) });
	}

	/** Ends the answer under way, frees the model's memory and ends its own worker. */
	dispose(): void {
		this.#disposed.abort();
		this.model.dispose();
	}

	[DISPOSE](): void {
		this.dispose();
	}
}
