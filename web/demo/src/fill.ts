import { MOST_ELEMENTS, elementCount, filled, integerRange, type Elements } from './elements';
import { PageError } from './problem';
import { normal, uniform } from './random';

/** Rules that make up an input. */
export type Rule = 'normal' | 'uniform' | 'range' | 'zeros' | 'ones';

/** A rule's two numbers: mean and deviation, low and high, or start and step. */
export type Numbers = readonly [number, number];

/** What the two numbers of a rule are called; none for rules without. */
export const NUMBER_NAMES: Record<Rule, readonly [string, string] | null> = {
	normal: ['Mean', 'Deviation'],
	uniform: ['Low', 'High'],
	range: ['Start', 'Step'],
	zeros: null,
	ones: null,
};

/** The rule that a dtype starts with, and its numbers. Small integers, as they often are indices. */
export function firstRule(dtype: string): Rule {
	return integerRange(dtype) ? 'uniform' : 'normal';
}

/** Usual numbers of a rule. */
export function usualNumbers(rule: Rule, dtype: string): Numbers {
	if (rule === 'uniform') return dtype === 'bool' ? [0, 1] : integerRange(dtype) ? [0, 9] : [0, 1];
	return [0, 1];
}

/** Elements made up by a rule. Throws a PageError for more of them than the page makes up. */
export function fill(dtype: string, shape: readonly number[], rule: Rule, [a, b]: Numbers, seed: number): Elements {
	const count = elementCount(shape);
	if (count > MOST_ELEMENTS) throw new PageError('input', `shape [${shape.join(', ')}] has ${count} elements, at most ${MOST_ELEMENTS} are made up here`);
	if (rule === 'zeros' || rule === 'ones') return filled(dtype, count, () => Number(rule === 'ones'));
	if (rule === 'range') return filled(dtype, count, (i) => a + b * i);
	if (rule === 'normal') {
		const next = normal(seed);
		return filled(dtype, count, () => a + b * next());
	}
	const next = uniform(seed);
	// Every integer from low to high is as likely as the others.
	if (integerRange(dtype)) return filled(dtype, count, () => Math.floor(a + next() * (b - a + 1)));
	return filled(dtype, count, () => a + next() * (b - a));
}
