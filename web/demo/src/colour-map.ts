/** From 0 to 1 into red, green and blue of 0 to 255. */
export type ColourMap = (share: number) => [number, number, number];

type Stop = [number, number, number];

// Lightness rises evenly along each map, so that it reads the same without colours.
const HEAT: Stop[] = [[12, 10, 38], [58, 22, 104], [130, 36, 120], [199, 62, 92], [243, 122, 62], [252, 194, 88], [252, 250, 210]];
// White in the middle: zero.
const SIGNED: Stop[] = [[24, 62, 148], [92, 144, 214], [190, 212, 238], [247, 247, 247], [244, 204, 180], [222, 122, 92], [160, 28, 44]];

function between(stops: Stop[]): ColourMap {
	return (share) => {
		const at = Math.min(1, Math.max(0, share)) * (stops.length - 1);
		const low = Math.min(stops.length - 2, Math.floor(at));
		const [from, to] = [stops[low] as Stop, stops[low + 1] as Stop];
		const mix = (i: 0 | 1 | 2) => Math.round(from[i] + (to[i] - from[i]) * (at - low));
		return [mix(0), mix(1), mix(2)];
	};
}

/** The maps that can be chosen. */
export const COLOUR_MAPS = {
	grey: (share) => {
		const value = Math.round(Math.min(1, Math.max(0, share)) * 255);
		return [value, value, value];
	},
	heat: between(HEAT),
	signed: between(SIGNED),
} satisfies Record<string, ColourMap>;

/** Names of the maps. */
export type ColourMapName = keyof typeof COLOUR_MAPS;
