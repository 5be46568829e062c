// A machine's minutes as points of a chart: those of the last hour or day, with a gap wherever none was told.

const MINUTE_S = 60;

export interface Points {
  steps: number[];
  values: number[];
}

/** Points from `since` on, Unix seconds. A missing figure or minute is NaN, which a chart leaves open. */
export function toPoints(
  at: readonly number[],
  figures: readonly (number | null)[],
  since: number,
): Points {
  const points: Points = { steps: [], values: [] };
  at.forEach((second, index) => {
    if (second < since) return;
    const before = points.steps.at(-1);
    if (before !== undefined && second - before > 2 * MINUTE_S) {
      points.steps.push(before + MINUTE_S);
      points.values.push(NaN);
    }
    points.steps.push(second);
    points.values.push(figures[index] ?? NaN);
  });
  return points;
}

/** The last figure that is one; null where there is none. */
export function lastOf(points: Points): number | null {
  return points.values.findLast((value) => Number.isFinite(value)) ?? null;
}
