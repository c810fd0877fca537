import { drawing } from './element';

const PATHS = {
	chat: 'M4 5h16v11H10l-4 4v-4H4z',
	function: 'M16 5c-3-1-4.5.5-5 4l-1 6c-.5 3.5-2 5-5 4M7 11h8',
	text: 'M5 6h14M5 12h14M5 18h9',
	gpu: 'M7 7h10v10H7zM10 3v4M14 3v4M10 17v4M14 17v4M3 10h4M3 14h4M17 10h4M17 14h4',
	folder: 'M3 6h6l2 2h10v11H3z',
	link: 'M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1',
	send: 'M12 19V5M6 11l6-6 6 6',
	stop: 'M7 7h10v10H7z',
	copy: 'M9 9h10v10H9zM15 9V5H5v10h4',
	check: 'M5 12l5 5 9-10',
	sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M5 19l1.4-1.4M17.6 6.4 19 5',
	moon: 'M20 14A8 8 0 0 1 10 4a8 8 0 1 0 10 10z',
	auto: 'M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18',
	close: 'M6 6l12 12M18 6 6 18',
	trash: 'M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13',
	sliders: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 5v4M9 15v4',
	plus: 'M12 5v14M5 12h14',
	dice: 'M5 5h14v14H5zM9 9h.01M15 9h.01M12 12h.01M9 15h.01M15 15h.01',
	download: 'M12 4v11M7 11l5 5 5-5M5 20h14',
	play: 'M8 5l11 7-11 7z',
	warning: 'M12 4 2.5 20h19zM12 10v4M12 17h.01',
	reset: 'M5 12a7 7 0 1 0 2-5L4 10M4 5v5h5',
	image: 'M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M9 9h.01',
	swap: 'M4 8h14l-3-3M20 16H6l3 3',
} as const;

/** Names of the pictures. */
export type IconName = keyof typeof PATHS;

/** A line icon of 24 × 24 units in the colour of the text; silent for screen readers. */
export function icon(name: IconName): SVGSVGElement {
	return drawing(
		'svg',
		{ class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true', focusable: 'false' },
		drawing('path', { d: PATHS[name] }),
	);
}
