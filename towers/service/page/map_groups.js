/** Contents of a map in groups, by genre or by kind: the most frequent have a colour, the others are grey. */

export const HUES = 7;

/**
 * @param {Array<string|null>} values of each point
 * @param {string|null} first a group that has a colour however rare it is
 * @returns {{names: string[], sizes: Map<string, number>, of: Int8Array}} the coloured groups, largest first; all
 *   groups with their sizes; and of each point the place of its group among the coloured, or -1
 */
export function grouped(values, first = null) {
  const sizes = new Map();
  for (const value of values) if (value != null) sizes.set(value, (sizes.get(value) ?? 0) + 1);
  const ordered = [...sizes.keys()].sort((a, b) => sizes.get(b) - sizes.get(a) || (a < b ? -1 : 1));
  const names = ordered.slice(0, HUES);
  if (sizes.has(first) && !names.includes(first)) names.splice(Math.min(HUES, names.length) - 1, 1, first);
  const places = new Map(names.map((name, place) => [name, place]));
  return { names, sizes, of: Int8Array.from(values, (value) => places.get(value) ?? -1) };
}
