import { check } from './abort.js';

/** Runs jobs one after the other. */
export class Queue {
	#last: Promise<unknown> = Promise.resolve();

	/** The job's result. A job whose signal is aborted before its turn does not run. */
	run<T>(job: () => Promise<T>, signal?: AbortSignal): Promise<T> {
		const mine = this.#last.then(() => {
			check(signal);
			return job();
		});
		this.#last = mine.catch(() => {});
		return mine;
	}
}
